//! Has the project been edited? Any event of the file system is only a hint to look; what counts is whether contents differ.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{Event, RecommendedWatcher, RecursiveMode};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

/// Editors write in several steps; this long without an event means that they are done.
const SETTLED: Duration = Duration::from_millis(15);
/// An edit that never settles is taken up all the same after this.
const IMPATIENCE: Duration = Duration::from_millis(500);

/// Directories whose contents are the project's, relative to its root.
const WATCHED: [&str; 3] = ["schema", "config", "src"];
/// Directories below them that are not.
const IGNORED: [&str; 4] = ["generated", "__pycache__", "node_modules", ".git"];

/// Watches a project's files.
pub(crate) struct Watcher {
    files: Arc<Files>,
    hints: mpsc::Receiver<()>,
    /// A hint has come and nobody has looked since; kept here because waiting for quiet and looking may be cancelled.
    hinted: bool,
    /// What the contents last known come to.
    fingerprint: u64,
}

/// The files as the system shows them. Whatever reads them may take long and has a thread of its own.
struct Files {
    root: PathBuf,
    /// Locked by whoever looks, one at a time: a look that was given up may still be going on.
    watcher: Mutex<RecommendedWatcher>,
}

impl Watcher {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the system has no watches left.
    pub(crate) fn new(root: &Path) -> notify::Result<Self> {
        // One hint is as good as many: a full channel loses nothing.
        let (hint, hints) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) && hint.try_send(()).is_err() {
                tracing::trace!("a look at the files is already due");
            }
        })?;
        let files = Files { root: root.to_owned(), watcher: Mutex::new(watcher) };
        files.watch_all()?;
        let fingerprint = files.fingerprint();
        Ok(Self { files: Arc::new(files), hints, hinted: false, fingerprint })
    }

    /// Takes the present contents as known.
    pub(crate) async fn settle(&mut self) {
        self.fingerprint = self.look().await;
    }

    /// Waits until contents differ from those last known, and takes the new ones as known.
    pub(crate) async fn changed(&mut self) {
        loop {
            if !self.hinted && self.hints.recv().await.is_none() {
                return std::future::pending().await;
            }
            self.hinted = true;
            let impatience = sleep(IMPATIENCE);
            tokio::pin!(impatience);
            while let Ok(Some(())) = timeout(SETTLED, self.hints.recv()).await {
                if impatience.is_elapsed() {
                    break;
                }
            }
            let fingerprint = self.look().await;
            self.hinted = false;
            if fingerprint != self.fingerprint {
                self.fingerprint = fingerprint;
                return;
            }
        }
    }

    /// Looks at all files, also at those in directories that are new.
    async fn look(&self) -> u64 {
        let files = Arc::clone(&self.files);
        let look = spawn_blocking(move || {
            if let Err(error) = files.watch_all() {
                tracing::warn!(%error, "a directory cannot be watched");
            }
            files.fingerprint()
        });
        look.await.unwrap_or_else(|error| {
            tracing::error!(%error, "the project's files could not be looked at");
            self.fingerprint
        })
    }
}

impl Files {
    /// The root itself is watched for directories that are not there yet; each of the others with all below it.
    fn watch_all(&self) -> notify::Result<()> {
        use notify::Watcher as _;
        let mut watcher = self.watcher.lock().unwrap_or_else(PoisonError::into_inner);
        watcher.watch(&self.root, RecursiveMode::NonRecursive)?;
        for directory in WATCHED {
            let path = self.root.join(directory);
            if path.is_dir() {
                watcher.watch(&path, RecursiveMode::Recursive)?;
            }
        }
        Ok(())
    }

    fn fingerprint(&self) -> u64 {
        let mut files = Vec::new();
        for directory in WATCHED {
            collect(&self.root.join(directory), &mut files);
        }
        files.sort();
        let mut hasher = DefaultHasher::new();
        for file in files {
            file.hash(&mut hasher);
            // A file that vanished in between differs from one that is there, which is all that counts.
            fs::read(&file).ok().hash(&mut hasher);
        }
        hasher.finish()
    }
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        // Links to directories are not followed: they may lead in circles.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if !IGNORED.contains(&&*name) && !name.starts_with('.') {
                collect(&path, files);
            }
        } else if is_watched(&name) {
            files.push(path);
        }
    }
}

/// Editors' swap and backup files are not the project's.
fn is_watched(name: &str) -> bool {
    !name.starts_with('.')
        && !name.ends_with('~')
        && Path::new(name).extension().is_some_and(|extension| {
            ["ro", "toml", "py", "json", "txt", "yaml", "yml", "sql", "html", "jinja", "j2"]
                .iter()
                .any(|known| extension == *known)
        })
}
