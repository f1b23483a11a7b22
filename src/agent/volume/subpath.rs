//! `subPath`: a part of a volume. A link in the volume must not lead out of it, also not one that is swapped while we look.
//!
//! The path is opened step by step without following links out of the volume, and what was opened is bind mounted to a
//! place of the pod's own, which is what the runtime mounts.

use std::{
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// Mounts `part` of `volume` at `target` and returns `target`. What does not exist becomes a folder.
pub fn mount(volume: &Path, part: &str, target: &Path) -> io::Result<PathBuf> {
    if !super::payload::safe(part) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("subPath {part:?} must be relative and without .."),
        ));
    }
    let opened = match open_inside(volume, Path::new(part)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_inside(volume, Path::new(part))?;
            open_inside(volume, Path::new(part))?
        }
        other => other?,
    };
    let source = PathBuf::from(format!("/proc/self/fd/{}", opened.as_raw_fd()));
    let is_dir = fs::metadata(&source)?.is_dir();
    unmount(target);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    match is_dir {
        true => fs::create_dir_all(target)?,
        false => drop(fs::OpenOptions::new().create(true).append(true).open(target)?),
    }
    let flags = nix::mount::MsFlags::MS_BIND | nix::mount::MsFlags::MS_REC;
    nix::mount::mount(Some(&source), target, None::<&str>, flags, None::<&str>)?;
    Ok(target.to_owned())
}

/// What was mounted for an earlier run of the container.
fn unmount(target: &Path) {
    // Fails when nothing is mounted, which is well.
    let _ = nix::mount::umount2(target, nix::mount::MntFlags::MNT_DETACH | nix::mount::MntFlags::UMOUNT_NOFOLLOW);
}

#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const RESOLVE_IN_ROOT: u64 = 0x10;
const RESOLVE_NO_MAGICLINKS: u64 = 0x02;

/// Opens a path as if the volume were the root: links cannot leave it. Older kernels refuse every link instead.
#[allow(unsafe_code)]
fn open_inside(volume: &Path, part: &Path) -> io::Result<OwnedFd> {
    let root: OwnedFd = fs::File::open(volume)?.into();
    let name = std::ffi::CString::new(part.as_os_str().as_bytes())?;
    let flags = u64::from((libc::O_PATH | libc::O_CLOEXEC).cast_unsigned());
    let how = OpenHow { flags, mode: 0, resolve: RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    // SAFETY: `name` and `how` live through the call, the size is that of `how`, and the kernel keeps neither.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            root.as_raw_fd(),
            name.as_ptr(),
            &raw const how,
            std::mem::size_of::<OpenHow>(),
        )
    };
    if fd >= 0 {
        // SAFETY: the kernel has just made this descriptor for us, and nobody else owns it.
        return Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).map_err(io::Error::other)?) });
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(libc::ENOSYS) {
        return Err(error);
    }
    let mut at = root;
    for step in part {
        at = step_into(&at, step)?;
    }
    Ok(at)
}

fn step_into(at: &OwnedFd, step: &std::ffi::OsStr) -> io::Result<OwnedFd> {
    use nix::fcntl::{OFlag, openat};
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(openat(at, step, flags, nix::sys::stat::Mode::empty())?)
}

/// Makes the folders that are missing, none through a link.
fn create_inside(volume: &Path, part: &Path) -> io::Result<()> {
    let mut so_far = PathBuf::new();
    for step in part {
        let parent = match so_far.as_os_str().is_empty() {
            true => fs::File::open(volume)?.into(),
            false => open_inside(volume, &so_far)?,
        };
        match nix::sys::stat::mkdirat(&parent, step, nix::sys::stat::Mode::from_bits_truncate(0o750)) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        so_far.push(step);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_do_not_lead_out() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let volume = temp.path().join("v");
        fs::create_dir_all(volume.join("in")).expect("made");
        fs::write(temp.path().join("secret"), "s").expect("written");
        std::os::unix::fs::symlink("../secret", volume.join("out")).expect("linked");
        std::os::unix::fs::symlink("in", volume.join("link")).expect("linked");
        assert!(open_inside(&volume, Path::new("in")).is_ok());
        assert!(open_inside(&volume, Path::new("out")).is_err());
        create_inside(&volume, Path::new("in/new/deep")).expect("made");
        assert!(volume.join("in/new/deep").is_dir());
    }
}
