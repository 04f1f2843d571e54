//! A small disk of its own for the host's data: an image in a file, so that it can be filled.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::child::{note_mount, unmount};
use crate::error::LoadError;

/// Size of the disk; its image takes only what is written to it.
const DISK_BYTES: u64 = 512 << 20;
/// Largest piece that fills the disk at once, and the smallest.
const PIECE_BYTES: (u64, u64) = (64 << 20, 4 << 10);

/// A mounted disk; it is taken back when dropped.
#[derive(Debug)]
pub(super) struct Disk {
    mount: PathBuf,
}

impl Disk {
    /// Makes a disk within a directory.
    ///
    /// # Errors
    ///
    /// Returns a usage error that says why this machine allows no disk.
    pub(super) fn make(dir: &Path) -> Result<Self, LoadError> {
        let cannot = |why: String| {
            LoadError::usage(format!("disk-full needs a small disk for the host, and {why}"))
        };
        if !rustix::process::geteuid().is_root() {
            return Err(cannot("only root may mount one".to_owned()));
        }
        let (image, mount) = (dir.join("disk.img"), dir.join("disk"));
        let made = File::create(&image).and_then(|file| file.set_len(DISK_BYTES));
        made.and_then(|()| std::fs::create_dir(&mount)).map_err(|e| cannot(e.to_string()))?;
        for (program, arguments) in
            [("mkfs.ext4", &["-q", "-F", "-m", "0"][..]), ("mount", &["-o", "loop"])]
        {
            let mut command = Command::new(program);
            command.args(arguments).arg(&image).stdin(Stdio::null());
            if program == "mount" {
                command.arg(&mount);
            }
            let ended = command.output().map_err(|e| cannot(format!("{program}: {e}")))?;
            if !ended.status.success() {
                let said = String::from_utf8_lossy(&ended.stderr);
                return Err(cannot(format!("{program} says: {}", said.trim())));
            }
        }
        note_mount(&mount);
        Ok(Self { mount })
    }

    /// Returns where it is mounted.
    pub(super) fn path(&self) -> &Path {
        &self.mount
    }

    fn filler(&self) -> PathBuf {
        self.mount.join("filler")
    }

    /// Takes every free byte and returns how many.
    ///
    /// # Errors
    ///
    /// Returns a target error if the disk refuses for another reason than its end.
    pub(super) fn fill(&self) -> Result<u64, LoadError> {
        let failed = |e: std::io::Error| LoadError::target(format!("disk can't be filled: {e}"));
        let file = File::create(self.filler()).map_err(failed)?;
        let (mut piece, least) = PIECE_BYTES;
        let mut taken = 0;
        while piece >= least {
            match fallocate(&file, FallocateFlags::empty(), taken, piece) {
                Ok(()) => taken += piece,
                Err(Errno::NOSPC) => piece /= 2,
                Err(Errno::INTR) => (),
                Err(error) => return Err(failed(error.into())),
            }
            if taken > DISK_BYTES {
                return Err(LoadError::target("disk has no end, so it can't be filled"));
            }
        }
        Ok(taken)
    }

    /// Gives the bytes back.
    ///
    /// # Errors
    ///
    /// Returns a target error if the file can't be removed.
    pub(super) fn free(&self) -> Result<(), LoadError> {
        let freed = std::fs::remove_file(self.filler());
        freed.map_err(|e| LoadError::target(format!("disk can't be freed: {e}")))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.mount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full disk takes nothing more, and takes again what is freed; who may not mount is told so.
    #[test]
    fn a_disk_is_filled_and_freed() {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let disk = match Disk::make(dir.path()) {
            Ok(disk) => disk,
            Err(error) => {
                let text = error.to_string();
                assert!(text.contains("disk-full needs a small disk for the host"), "{text}");
                return;
            }
        };
        let file = disk.path().join("file");
        let write = || std::fs::write(&file, vec![7; 64 << 10]);
        write().expect("there is room");
        assert!(disk.fill().expect("it has an end") > DISK_BYTES / 2);
        std::fs::remove_file(&file).expect("it is there");
        disk.fill().expect("what was freed is taken too");
        let full = write().expect_err("nothing is left");
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
        disk.free().expect("it is there");
        write().expect("there is room again");
    }
}
