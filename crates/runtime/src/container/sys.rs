//! The few system calls that no safe wrapper of ours covers, each as a safe function with its reason.
//!
//! Everything here is called from single-threaded processes (the zygote and what it forks), which is what makes
//! `fork` without `exec` sound.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::unistd::Pid;

/// Which side of a fork we are on.
pub(super) enum Forked {
    Parent(Pid),
    Child,
}

/// Forks. Must only be called while the process has one thread.
pub(super) fn fork() -> io::Result<Forked> {
    debug_assert_eq!(thread_count(), 1, "fork without exec is only sound in a single-threaded process");
    #[expect(unsafe_code, reason = "fork has no safe wrapper")]
    // SAFETY: the caller's process has a single thread, so the child's copy of every lock and of the heap is
    // consistent.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child)),
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
    }
}

fn thread_count() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count)
}

#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks with the child already in the cgroup (v2) behind `cgroup`: no migration, so no wait for a grace period.
pub(super) fn fork_into_cgroup(cgroup: BorrowedFd<'_>) -> io::Result<Forked> {
    fork_into_namespaces(0, Some(cgroup))
}

/// Forks a child that is in new namespaces (`CLONE_NEW…`) and, where one is given, in the cgroup (v2) behind `cgroup`.
pub(super) fn fork_into_namespaces(flags: i32, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked> {
    clone3(CloneArgs {
        flags: flags as u64 | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        exit_signal: libc::SIGCHLD as u64,
        cgroup: cgroup.map_or(0, |cgroup| cgroup.as_raw_fd() as u64),
        ..CloneArgs::default()
    })
}

/// Forks a child of our own parent; used to hand a process in a new pid namespace to whoever waits for us.
pub(super) fn fork_sibling() -> io::Result<Forked> {
    clone3(CloneArgs { flags: libc::CLONE_PARENT as u64, ..CloneArgs::default() })
}

fn clone3(args: CloneArgs) -> io::Result<Forked> {
    debug_assert_eq!(thread_count(), 1, "clone without exec is only sound in a single-threaded process");
    #[expect(unsafe_code, reason = "clone3 has no wrapper")]
    // SAFETY: without CLONE_VM this is fork: the child gets a copy of the address space and returns here on a copy
    // of the same stack. The arguments outlive the call, and the process has a single thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(Pid::from_raw(pid as i32))),
    }
}

/// Adopts a descriptor number that was inherited across `exec` or `fork` by agreement.
pub(super) fn inherited(fd: RawFd) -> OwnedFd {
    #[expect(unsafe_code, reason = "a descriptor known only by number")]
    // SAFETY: the process that started us put the descriptor there for us; nothing else in this process owns it.
    unsafe {
        OwnedFd::from_raw_fd(fd)
    }
}

/// Installs a seccomp filter on this thread.
pub(super) fn install_seccomp(program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?,
        filter: program.as_ptr().cast_mut(),
    };
    const SECCOMP_SET_MODE_FILTER: libc::c_long = 1;
    // Without SPEC_ALLOW the kernel turns speculative store bypass off for filtered processes, which costs much and
    // which every runtime has stopped doing; Linux 5.16 made the same choice the default.
    const SECCOMP_FILTER_FLAG_SPEC_ALLOW: libc::c_long = 4;
    #[expect(unsafe_code, reason = "seccomp has no wrapper")]
    // SAFETY: the kernel only reads the program, which outlives the call; its length is the slice's.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &raw const program)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Enters several namespaces of the process behind `pidfd` at once (Linux 5.8).
pub(super) fn join_namespaces(pidfd: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "setns with a pidfd has no safe wrapper here")]
    // SAFETY: setns takes two integers and touches no memory of ours.
    let result = unsafe { libc::setns(pidfd.as_raw_fd(), flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Loads a cgroup device program and attaches it to the cgroup behind `cgroup`.
pub(super) fn attach_device_program(instructions: &[u64], cgroup: BorrowedFd<'_>) -> io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        program_type: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log_buffer: u64,
        kernel_version: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        attach_type: u32,
        flags: u32,
    }
    const PROG_LOAD: libc::c_long = 5;
    const PROG_ATTACH: libc::c_long = 8;
    const TYPE_CGROUP_DEVICE: u32 = 15;
    const ATTACH_CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;

    let load = Load {
        program_type: TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    #[expect(unsafe_code, reason = "bpf has no wrapper")]
    // SAFETY: the kernel reads `load` and the instructions and licence it points to; all outlive the call.
    let program = unsafe { libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const load, size_of::<Load>()) };
    if program < 0 {
        return Err(io::Error::last_os_error());
    }
    let program = inherited(program as RawFd);
    let attach = Attach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    #[expect(unsafe_code, reason = "bpf has no wrapper")]
    // SAFETY: the kernel reads `attach`, which outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attach, size_of::<Attach>()) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `MOUNT_ATTR_…` of the kernel.
pub(super) mod mount_attribute {
    pub(in crate::container) const RDONLY: u64 = 1;
    pub(in crate::container) const NOSUID: u64 = 2;
    pub(in crate::container) const NODEV: u64 = 4;
    pub(in crate::container) const NOEXEC: u64 = 8;
    pub(in crate::container) const ATIME_MASK: u64 = 0x70;
    pub(in crate::container) const NOATIME: u64 = 0x10;
    pub(in crate::container) const STRICTATIME: u64 = 0x20;
    pub(in crate::container) const NODIRATIME: u64 = 0x80;
}

/// A change of mount attributes (Linux 5.12).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct MountAttributes {
    pub(super) set: u64,
    pub(super) clear: u64,
    /// `MS_PRIVATE` and its like; 0 leaves it.
    pub(super) propagation: u64,
    pub(super) user_namespace: u64,
}

/// Changes the mount behind `mount`, and with `recursive` those below it.
pub(super) fn set_mount_attributes(
    mount: BorrowedFd<'_>,
    attributes: MountAttributes,
    recursive: bool,
) -> io::Result<()> {
    const AT_RECURSIVE: libc::c_int = 0x8000;
    #[expect(unsafe_code, reason = "mount_setattr has no wrapper")]
    // SAFETY: the kernel reads the attributes and the empty path; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 },
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Closes every descriptor from `first` on. For processes forked for a purpose: whoever owned those descriptors in this
/// copy of the program must not run any more.
pub(super) fn close_from(first: RawFd) {
    #[expect(unsafe_code, reason = "close_range has no wrapper")]
    // SAFETY: by the contract above nothing in this process uses a descriptor from `first` on.
    unsafe {
        libc::close_range(first as u32, u32::MAX, 0);
    }
}

/// Leaves no descriptor from `first` on to the program that this process becomes: whoever started the agent may have
/// left it some that stay open.
pub(super) fn close_on_exec_from(first: RawFd) {
    #[expect(unsafe_code, reason = "close_range has no wrapper")]
    // SAFETY: nothing is closed here; an exec, after which nothing of this program runs, closes them.
    unsafe {
        libc::close_range(first as u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32);
    }
}

/// Sends any signal number to the process behind `pidfd`.
pub(super) fn pidfd_send_signal(pidfd: &OwnedFd, signal: i32) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the safe wrapper knows no real-time signals")]
    // SAFETY: no memory is passed; the kernel accepts a null siginfo.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<u8>(), 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives every signal its default action, those that the C library keeps for itself too.
pub(super) fn default_all_signals() {
    #[repr(C)]
    struct KernelSigaction {
        handler: usize,
        flags: libc::c_ulong,
        restorer: usize,
        mask: u64,
    }
    let default = KernelSigaction { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };
    for signal in 1..=64 {
        #[expect(unsafe_code, reason = "the C library does not let its own signals be set")]
        // SAFETY: the kernel reads the struct, which outlives the call; the default action runs no code of ours.
        // SIGKILL and SIGSTOP fail, which is what they should.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, std::ptr::null::<u8>(), 8);
        }
    }
}
