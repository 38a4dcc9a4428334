//! A disk of a few megabytes, which a test can fill and free while a daemon runs on it.
#![expect(clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Daemon, Project, text};

/// RocksDB reserves up to 64 MiB for a log before it writes there, and up to 32 MiB in the telemetry store: on a disk that is smaller the system refuses that at
/// once, on a larger one it would take all room for a moment, and other writes would fail that should not.
const MOUNT: &str = "mount -t tmpfs -o size=30m tmpfs \"$0\" && echo mounted && exec cat";
const ENTER: &str = "cd \"$0\" && exec \"$@\"";

/// A file system in memory, in a mount namespace of its own: only what [`SmallDisk::run`] starts sees it, and it goes with the last of these
/// processes, however the test ends.
pub(crate) struct SmallDisk {
    /// Keeps the namespace until its input ends.
    holder: Child,
    /// The way into the file system from outside.
    root: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk on this directory of the project.
    pub(crate) fn mount(project: &Project, directory: &str) -> Self {
        let directory = project.path().join(directory);
        fs::create_dir_all(&directory).unwrap();
        let mut command = Command::new("unshare");
        command.args(if is_root() { &["--mount"][..] } else { &["--mount", "--user", "--map-root-user"] });
        command.args(["sh", "-c", MOUNT]).arg(&directory);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut holder = piped.spawn().unwrap_or_else(|error| panic!("this test needs `unshare`: {error}"));
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.is_empty() {
            let mut said = Vec::new();
            holder.stderr.take().unwrap().read_to_end(&mut said).unwrap();
            panic!(
                "this test mounts a small file system: it needs root, or a system whose users may make namespaces: {}",
                text(&said)
            );
        }
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
        Self { root: root.join(directory.strip_prefix("/").unwrap()), holder }
    }

    /// Starts `rohas run` on a free port where the disk is and waits until it serves.
    pub(crate) fn run(&self, project: &Project) -> Daemon {
        let generated = project.rohas(&["codegen"]);
        assert!(generated.status.success(), "{}", text(&generated.stderr));
        Daemon::start(self.inside(&project.command(&["run", "--port", "0"])))
    }

    /// The same command in the namespace of the disk.
    pub(crate) fn inside(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg("--target").arg(self.holder.id().to_string());
        inside.args(if is_root() { &["--mount"][..] } else { &["--mount", "--user", "--preserve-credentials"] });
        // Entering leads to the root directory.
        inside.args(["sh", "-c", ENTER]).arg(command.get_current_dir().unwrap());
        inside.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    /// Leaves no room on it.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let full = io::copy(&mut io::repeat(0), &mut ballast).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull, "{full}");
    }

    /// Makes room again.
    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.root.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        self.holder.wait().unwrap();
    }
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}
