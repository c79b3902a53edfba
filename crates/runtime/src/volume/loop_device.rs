//! Loop devices: a file as a block device. The kernel lets one go with its last user.

use std::{
    ffi::c_int,
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

/// Gives out the numbers of free devices.
const CONTROL: &str = "/dev/loop-control";
/// Others may take a device between our asking for a free one and our taking it.
const ATTEMPTS: usize = 64;
/// It goes when nobody has it open or mounted.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Past the page cache, which the file system on top has already; ignored where the disk cannot.
const LO_FLAGS_DIRECT_IO: u32 = 16;

nix::ioctl_none_bad!(loop_get_free, 0x4C82);
nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, LoopConfig);

/// `struct loop_info64` of the kernel.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` of the kernel.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

/// A device that is there for as long as this is, or as it is mounted.
pub(super) struct LoopDevice {
    pub(super) path: PathBuf,
    _open: File,
}

/// Whether the kernel has loop devices.
pub(super) fn is_possible() -> bool {
    Path::new(CONTROL).exists()
}

/// Makes a device of a file.
pub(super) fn attach(file: &Path) -> io::Result<LoopDevice> {
    let control = File::options().read(true).write(true).open(CONTROL)?;
    let file = File::options().read(true).write(true).open(file)?;
    for _ in 0..ATTEMPTS {
        let path = PathBuf::from(format!("/dev/loop{}", free(&control)?));
        let device = File::options().read(true).write(true).open(&path)?;
        match configure(&device, &file) {
            Err(nix::Error::EBUSY) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => return Ok(LoopDevice { path, _open: device }),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "others took every free loop device"))
}

/// The number of a device that nobody has; the kernel makes one when there is none.
fn free(control: &File) -> io::Result<c_int> {
    #[expect(unsafe_code, reason = "the ioctl has no wrapper")]
    // SAFETY: it takes no argument, and the descriptor is open.
    let number = unsafe { loop_get_free(control.as_raw_fd()) };
    Ok(number?)
}

fn configure(device: &File, file: &File) -> nix::Result<()> {
    let info = LoopInfo {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| nix::Error::EBADF)?;
    let config = LoopConfig { fd, block_size: 0, info, reserved: [0; 8] };
    #[expect(unsafe_code, reason = "the ioctl has no wrapper")]
    // SAFETY: the kernel reads a `struct loop_config`, which this is, and keeps no pointer to it; both descriptors are
    // open.
    let done = unsafe { loop_configure(device.as_raw_fd(), &raw const config) };
    done.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_are_the_kernels() {
        assert_eq!(size_of::<LoopInfo>(), 232);
        assert_eq!(size_of::<LoopConfig>(), 304);
    }
}
