//! The default system call filter: what Docker's default profile allows, compiled to BPF once.
//!
//! Everything that is not named here fails with EPERM. Calls newer than this list fail with ENOSYS, and so does
//! `clone3` without CAP_SYS_ADMIN, whose flags a filter cannot see: C libraries then fall back to older calls.
//! Programs of another architecture (32-bit ones on a 64-bit host) are killed.

use std::collections::{BTreeMap, BTreeSet};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde_json::{Value, json};

/// A system call as libc names its number (`SYS_read`), and the number.
type Syscall = (&'static str, i64);

macro_rules! syscalls {
    ($($name:ident)*) => { &[$((stringify!($name), libc::$name as i64)),*] };
}

/// Allowed to everybody, on every architecture.
const ALLOWED: &[Syscall] = syscalls![
    SYS_accept SYS_accept4 SYS_adjtimex SYS_bind SYS_brk SYS_capget SYS_capset SYS_chdir SYS_clock_adjtime
    SYS_clock_getres SYS_clock_gettime SYS_clock_nanosleep SYS_close SYS_close_range SYS_connect
    SYS_copy_file_range SYS_dup SYS_dup3 SYS_epoll_create1 SYS_epoll_ctl SYS_epoll_pwait SYS_epoll_pwait2
    SYS_eventfd2 SYS_execve SYS_execveat SYS_exit SYS_exit_group SYS_faccessat SYS_faccessat2 SYS_fadvise64
    SYS_fallocate SYS_fanotify_mark SYS_fchdir SYS_fchmod SYS_fchmodat SYS_fchown SYS_fchownat SYS_fcntl
    SYS_fdatasync SYS_fgetxattr SYS_flistxattr SYS_flock SYS_fremovexattr SYS_fsetxattr SYS_fstat SYS_fstatfs
    SYS_fsync SYS_ftruncate SYS_futex SYS_futex_waitv SYS_getcpu SYS_getcwd SYS_getdents64 SYS_getegid
    SYS_geteuid SYS_getgid SYS_getgroups SYS_getitimer SYS_getpeername SYS_getpgid SYS_getpid SYS_getppid
    SYS_getpriority SYS_getrandom SYS_getresgid SYS_getresuid SYS_get_robust_list SYS_getrusage SYS_getsid
    SYS_getsockname SYS_getsockopt SYS_gettid SYS_gettimeofday SYS_getuid SYS_getxattr SYS_inotify_add_watch
    SYS_inotify_init1 SYS_inotify_rm_watch SYS_io_cancel SYS_ioctl SYS_io_destroy SYS_io_getevents
    SYS_ioprio_get SYS_ioprio_set SYS_io_setup SYS_io_submit SYS_kill SYS_landlock_add_rule
    SYS_landlock_create_ruleset SYS_landlock_restrict_self SYS_lgetxattr SYS_linkat SYS_listen SYS_listxattr
    SYS_llistxattr SYS_lremovexattr SYS_lseek SYS_lsetxattr SYS_madvise SYS_membarrier SYS_memfd_create
    SYS_memfd_secret SYS_mincore SYS_mkdirat SYS_mknodat SYS_mlock SYS_mlock2 SYS_mlockall SYS_mmap SYS_mprotect
    SYS_mq_getsetattr SYS_mq_notify SYS_mq_open SYS_mq_timedreceive SYS_mq_timedsend SYS_mq_unlink SYS_mremap
    SYS_msgctl SYS_msgget SYS_msgrcv SYS_msgsnd SYS_msync SYS_munlock SYS_munlockall SYS_munmap
    SYS_name_to_handle_at SYS_nanosleep SYS_newfstatat SYS_openat SYS_openat2 SYS_pidfd_open
    SYS_pidfd_send_signal SYS_pipe2 SYS_pkey_alloc SYS_pkey_free SYS_pkey_mprotect SYS_ppoll SYS_prctl
    SYS_pread64 SYS_preadv SYS_preadv2 SYS_prlimit64 SYS_process_mrelease SYS_process_vm_readv
    SYS_process_vm_writev SYS_pselect6 SYS_ptrace SYS_pwrite64 SYS_pwritev SYS_pwritev2 SYS_read SYS_readahead
    SYS_readlinkat SYS_readv SYS_recvfrom SYS_recvmmsg SYS_recvmsg SYS_remap_file_pages SYS_removexattr
    SYS_renameat2 SYS_restart_syscall SYS_rseq SYS_rt_sigaction SYS_rt_sigpending SYS_rt_sigprocmask
    SYS_rt_sigqueueinfo SYS_rt_sigreturn SYS_rt_sigsuspend SYS_rt_sigtimedwait SYS_rt_tgsigqueueinfo
    SYS_sched_getaffinity SYS_sched_getattr SYS_sched_getparam SYS_sched_get_priority_max
    SYS_sched_get_priority_min SYS_sched_getscheduler SYS_sched_rr_get_interval SYS_sched_setaffinity
    SYS_sched_setattr SYS_sched_setparam SYS_sched_setscheduler SYS_sched_yield SYS_seccomp SYS_semctl
    SYS_semget SYS_semop SYS_semtimedop SYS_sendfile SYS_sendmmsg SYS_sendmsg SYS_sendto SYS_setfsgid
    SYS_setfsuid SYS_setgid SYS_setgroups SYS_setitimer SYS_setpgid SYS_setpriority SYS_setregid SYS_setresgid
    SYS_setresuid SYS_setreuid SYS_set_robust_list SYS_setsid SYS_setsockopt SYS_set_tid_address SYS_setuid
    SYS_setxattr SYS_shmat SYS_shmctl SYS_shmdt SYS_shmget SYS_shutdown SYS_sigaltstack SYS_signalfd4
    SYS_socketpair SYS_splice SYS_statfs SYS_statx SYS_symlinkat SYS_sync SYS_syncfs SYS_sysinfo SYS_tee
    SYS_tgkill SYS_timer_create SYS_timer_delete SYS_timer_getoverrun SYS_timer_gettime SYS_timer_settime
    SYS_timerfd_create SYS_timerfd_gettime SYS_timerfd_settime SYS_times SYS_tkill SYS_truncate SYS_umask
    SYS_uname SYS_unlinkat SYS_utimensat SYS_vmsplice SYS_wait4 SYS_waitid SYS_write SYS_writev
];

/// Older calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
const ALLOWED_HERE: &[Syscall] = syscalls![
    SYS_access SYS_alarm SYS_arch_prctl SYS_chmod SYS_chown SYS_creat SYS_dup2 SYS_epoll_create
    SYS_epoll_ctl_old SYS_epoll_wait SYS_epoll_wait_old SYS_eventfd SYS_fork SYS_futimesat SYS_getdents
    SYS_getpgrp SYS_getrlimit SYS_inotify_init SYS_lchown SYS_link SYS_lstat SYS_mkdir SYS_mknod SYS_modify_ldt
    SYS_open SYS_pause SYS_pipe SYS_poll SYS_readlink SYS_rename SYS_renameat SYS_rmdir SYS_select SYS_setrlimit
    SYS_signalfd SYS_stat SYS_symlink SYS_sync_file_range SYS_time SYS_unlink SYS_utime SYS_utimes SYS_vfork
];

/// Older calls that only this architecture has.
#[cfg(target_arch = "aarch64")]
const ALLOWED_HERE: &[Syscall] =
    &[("SYS_getrlimit", 163), ("SYS_renameat", 38), ("SYS_setrlimit", 164), ("SYS_sync_file_range", 84)];

/// Calls that libc does not name yet on every target.
const ALLOWED_BY_NUMBER: &[Syscall] = &[
    #[cfg(target_arch = "x86_64")]
    ("SYS_io_pgetevents", 333),
    #[cfg(target_arch = "aarch64")]
    ("SYS_io_pgetevents", 292),
    ("SYS_cachestat", 451),
    ("SYS_fchmodat2", 452),
    ("SYS_map_shadow_stack", 453),
    ("SYS_futex_wake", 454),
    ("SYS_futex_wait", 455),
    ("SYS_futex_requeue", 456),
    ("SYS_statmount", 457),
    ("SYS_listmount", 458),
    ("SYS_mseal", 462),
];

/// Allowed to who has the capability.
const BY_CAPABILITY: &[(&str, &[Syscall])] = &[
    ("DAC_READ_SEARCH", syscalls![SYS_open_by_handle_at]),
    (
        "SYS_ADMIN",
        syscalls![
            SYS_bpf SYS_clone SYS_clone3 SYS_fanotify_init SYS_fsconfig SYS_fsmount SYS_fsopen SYS_fspick
            SYS_lookup_dcookie SYS_mount SYS_mount_setattr SYS_move_mount SYS_open_tree SYS_perf_event_open
            SYS_quotactl SYS_quotactl_fd SYS_setdomainname SYS_sethostname SYS_setns SYS_syslog SYS_umount2
            SYS_unshare
        ],
    ),
    ("SYS_BOOT", syscalls![SYS_reboot]),
    ("SYS_CHROOT", syscalls![SYS_chroot]),
    ("SYS_MODULE", syscalls![SYS_delete_module SYS_init_module SYS_finit_module]),
    ("SYS_PACCT", syscalls![SYS_acct]),
    ("SYS_PTRACE", syscalls![SYS_kcmp SYS_pidfd_getfd SYS_process_madvise]),
    ("SYS_TIME", syscalls![SYS_settimeofday SYS_clock_settime]),
    ("SYS_TTY_CONFIG", syscalls![SYS_vhangup]),
    ("SYS_NICE", syscalls![SYS_get_mempolicy SYS_mbind SYS_set_mempolicy SYS_set_mempolicy_home_node]),
    ("SYSLOG", syscalls![SYS_syslog]),
    ("BPF", syscalls![SYS_bpf]),
    ("PERFMON", syscalls![SYS_perf_event_open]),
    #[cfg(target_arch = "x86_64")]
    ("SYS_RAWIO", syscalls![SYS_iopl SYS_ioperm]),
];

/// The newest call that this list was checked against; newer ones "do not exist" for a container.
const NEWEST_KNOWN: u32 = 462;

/// Values of `personality` that only say which personality is in force, or choose a harmless one.
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x20000, 0x20008, 0xffff_ffff];

/// CLONE_NEW*: a container may not make namespaces.
const CLONE_NAMESPACE_FLAGS: u64 = 0x7e02_0000;

const AF_VSOCK: u64 = 40;

/// A filter ready to be installed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter(Vec<libc::sock_filter>);

/// Why the filter could not be compiled or is not in place.
#[derive(Debug, thiserror::Error)]
pub(super) enum SeccompError {
    #[error("seccomp filter")]
    Compile(#[from] seccompiler::BackendError),
    #[error("the kernel refused the seccomp filter: {0}")]
    Install(#[source] std::io::Error),
    #[error("the seccomp filter is not in force")]
    NotInForce,
}

impl Filter {
    /// The filter for a container whose capabilities (without `CAP_`) are `capabilities`.
    pub(super) fn compile(capabilities: &BTreeSet<String>) -> Result<Self, SeccompError> {
        let filter = SeccompFilter::new(
            rules(capabilities)?,
            SeccompAction::Errno(libc::EPERM as u32),
            SeccompAction::Allow,
            architecture(),
        )?;
        let compiled: BpfProgram = filter.try_into()?;
        let mut program = preamble(capabilities.contains("SYS_ADMIN"));
        program.extend(compiled.iter().map(|instruction| libc::sock_filter {
            code: instruction.code,
            jt: instruction.jt,
            jf: instruction.jf,
            k: instruction.k,
        }));
        Ok(Self(program))
    }

    /// Installs it on the calling thread and makes sure that it is in force. Needs CAP_SYS_ADMIN or no_new_privs.
    pub(super) fn install(&self) -> Result<(), SeccompError> {
        super::sys::install_seccomp(&self.0).map_err(SeccompError::Install)?;
        match rustix::thread::secure_computing_mode() {
            Ok(rustix::thread::SecureComputingMode::Filter) => Ok(()),
            _ => Err(SeccompError::NotInForce),
        }
    }
}

fn architecture() -> seccompiler::TargetArch {
    if cfg!(target_arch = "aarch64") { seccompiler::TargetArch::aarch64 } else { seccompiler::TargetArch::x86_64 }
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?])
}

/// Every allowed call with the conditions it is allowed under (none: always).
fn rules(capabilities: &BTreeSet<String>) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let personalities = PERSONALITIES.map(|value| condition(0, SeccompCmpOp::Eq, value));
    rules.insert(libc::SYS_personality, personalities.into_iter().collect::<Result<_, _>>()?);
    rules.insert(libc::SYS_socket, vec![condition(0, SeccompCmpOp::Ne, AF_VSOCK)?]);
    rules.insert(libc::SYS_clone, vec![condition(0, SeccompCmpOp::MaskedEq(CLONE_NAMESPACE_FLAGS), 0)?]);
    for (_, number) in allowed(capabilities) {
        rules.insert(number, Vec::new());
    }
    Ok(rules)
}

/// The calls that are allowed whatever their arguments.
fn allowed(capabilities: &BTreeSet<String>) -> impl Iterator<Item = Syscall> {
    let by_capability = BY_CAPABILITY
        .iter()
        .filter(|(capability, _)| capabilities.contains(*capability))
        .flat_map(|(_, calls)| calls.iter());
    ALLOWED.iter().chain(ALLOWED_HERE).chain(ALLOWED_BY_NUMBER).chain(by_capability).copied()
}

/// What the compiler cannot express: a second answer besides EPERM. Falls through to the compiled filter, which
/// starts by loading what it needs.
fn preamble(may_clone3: bool) -> Vec<libc::sock_filter> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const JUMP_GREATER: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    /// x32 calls have this bit set: they are old calls under new numbers, and stay forbidden with EPERM.
    const X32_BIT: u32 = 0x4000_0000;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut program = vec![step(LOAD, 0, 0, 0)];
    if !may_clone3 {
        program.push(step(JUMP_EQUAL, 0, 1, libc::SYS_clone3 as u32));
        program.push(step(RETURN, 0, 0, ENOSYS));
    }
    program.push(step(JUMP_GREATER, 0, 2, NEWEST_KNOWN));
    program.push(step(JUMP_GREATER, 1, 0, X32_BIT - 1));
    program.push(step(RETURN, 0, 0, ENOSYS));
    program
}

/// The same profile in the words of an OCI configuration, for OCI binaries.
pub(super) fn oci_profile(capabilities: &BTreeSet<String>) -> Value {
    let plain = |name: &'static str| name.trim_start_matches("SYS_");
    let names: BTreeSet<&str> = allowed(capabilities).map(|(name, _)| plain(name)).collect();
    let mut calls = vec![
        json!({"names": names, "action": "SCMP_ACT_ALLOW"}),
        json!({"names": ["socket"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE"}]}),
    ];
    for value in PERSONALITIES {
        calls.push(json!({"names": ["personality"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}));
    }
    if !capabilities.contains("SYS_ADMIN") {
        calls.push(json!({"names": ["clone"], "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": CLONE_NAMESPACE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]}));
        calls.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS}));
    }
    // 32-bit programs are killed by our own filter too; libseccomp does so for architectures that are not listed.
    let architecture = if cfg!(target_arch = "aarch64") { "SCMP_ARCH_AARCH64" } else { "SCMP_ARCH_X86_64" };
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": libc::EPERM,
        "architectures": [architecture],
        "syscalls": calls,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(capabilities: &[&str]) -> BTreeSet<&'static str> {
        let capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
        allowed(&capabilities).map(|(name, _)| name).collect()
    }

    #[test]
    fn what_could_leave_the_container_is_not_allowed() {
        let default = names(&[]);
        for call in [
            "mount",
            "unshare",
            "setns",
            "reboot",
            "keyctl",
            "add_key",
            "request_key",
            "bpf",
            "kexec_load",
            "init_module",
            "perf_event_open",
            "userfaultfd",
            "ptrace_nothing",
            "pivot_root",
            "swapon",
            "io_uring_setup",
        ] {
            assert!(!default.contains(format!("SYS_{call}").as_str()), "{call}");
        }
    }

    #[test]
    fn a_capability_brings_its_calls() {
        assert!(names(&["SYS_ADMIN"]).contains("SYS_mount"));
        assert!(names(&["SYS_BOOT"]).contains("SYS_reboot"));
        assert!(!names(&["SYS_BOOT"]).contains("SYS_mount"));
    }

    #[test]
    fn the_filter_fits_what_the_kernel_takes() {
        let filter = Filter::compile(&BTreeSet::new()).unwrap();
        assert!(filter.0.len() < 4096, "{} instructions", filter.0.len());
    }

    #[test]
    fn the_profile_for_oci_binaries_is_one() {
        let profile = oci_profile(&BTreeSet::new());
        assert!(profile["syscalls"].as_array().unwrap().len() > 5, "{profile}");
    }
}
