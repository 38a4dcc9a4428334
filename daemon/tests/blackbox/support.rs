//! A project directory, a daemon that runs it, and a plain HTTP client.
#![expect(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A project directory that goes with its test.
pub(crate) struct Project {
    directory: TempDir,
}

impl Project {
    /// A project with a configuration file and nothing else.
    pub(crate) fn new() -> Self {
        let project = Self { directory: tempfile::tempdir().unwrap() };
        project.file("config/rohas.toml", "[project]\nname = \"test\"\n[python]\nworkers = 1\n")
    }

    /// A project made of the example of that name.
    pub(crate) fn example(name: &str) -> Self {
        let project = Self { directory: tempfile::tempdir().unwrap() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        copy(&source, project.path());
        project
    }

    /// A project written as for the original Rohas.
    pub(crate) fn of_the_original(name: &str) -> Self {
        let project = Self { directory: tempfile::tempdir().unwrap() };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/blackbox/compat").join(name);
        copy(&source, project.path());
        project
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file; its text is dedented, so that it can stand indented in a test.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        self.write(path, text);
        self
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Editors replace files; so no reader ever sees half of one.
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, dedent(text)).unwrap();
        fs::rename(temporary, path).unwrap();
    }

    /// A command of the binary in this project.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rohas"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_remove("VIRTUAL_ENV")
            .env_remove("RUST_LOG")
            .env("NO_COLOR", "1")
            .env("ROHAS_PYTHON__INTERPRETER", python())
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn rohas(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts `rohas dev` on a free port and waits until it serves.
    pub(crate) fn dev(&self) -> Daemon {
        Daemon::start(self.command(&["dev", "--port", "0"]))
    }

    /// Generates code, starts `rohas run` on a free port and waits until it serves.
    pub(crate) fn run(&self) -> Daemon {
        let generated = self.rohas(&["codegen"]);
        assert!(generated.status.success(), "{}", text(&generated.stderr));
        Daemon::start(self.command(&["run", "--port", "0"]))
    }
}

fn copy(from: &Path, to: &Path) {
    const LEFT_OUT: [&str; 4] = [".venv", ".rohas", "__pycache__", "generated"];
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, name) = (entry.path(), entry.file_name());
        if LEFT_OUT.iter().any(|left_out| name == *left_out) {
            continue;
        }
        if source.is_dir() {
            copy(&source, &to.join(name));
        } else {
            fs::copy(&source, to.join(name)).unwrap();
        }
    }
}

/// The interpreter of the environment that `make test` prepares.
pub(crate) fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("ROHAS_TEST_PYTHON") {
        return python.into();
    }
    let home = PathBuf::from(std::env::var_os("HOME").unwrap());
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
    let venvs = cache.join("rohas/venvs");
    let found = ["test-3.11", "test-3.12", "test-3.13", "test-3.10"].map(|name| venvs.join(name).join("bin/python"));
    let found = found.into_iter().find(|python| python.is_file());
    found.unwrap_or_else(|| {
        panic!("no environment for tests in {}; run `make test` or scripts/test-venvs", venvs.display())
    })
}

pub(crate) fn dedent(text: &str) -> String {
    let text = text.strip_prefix('\n').unwrap_or(text);
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or_default();
    let mut plain: String = text.lines().map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
    if !text.ends_with('\n') && !text.contains('\n') {
        plain.pop();
    }
    plain
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits until `probe` gives something.
pub(crate) fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a process has written so far.
#[derive(Default)]
struct Written {
    text: Mutex<String>,
    more: Condvar,
}

impl Written {
    /// Takes in a stream line by line; `alone` gets a copy of it.
    fn follow(self: &Arc<Self>, stream: impl Read + Send + 'static, alone: Option<Arc<Self>>) {
        let written = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                let Ok(line) = line else { return };
                if let Some(alone) = &alone {
                    *alone.text.lock().unwrap() += &format!("{line}\n");
                }
                let mut text = written.text.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
                written.more.notify_all();
            }
        });
    }
}

/// A running daemon; killed when its test ends.
pub(crate) struct Daemon {
    child: Child,
    written: Arc<Written>,
    stdout: Arc<Written>,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    /// Starts a daemon and waits until it serves.
    pub(crate) fn start(command: Command) -> Self {
        Self::start_within(PATIENCE, command)
    }

    /// Starts a daemon that has more to do before it serves.
    pub(crate) fn start_within(patience: Duration, command: Command) -> Self {
        let mut daemon = Self::spawn(command);
        daemon.address_within(patience);
        daemon
    }

    /// Waits until a daemon that was only spawned serves.
    pub(crate) fn wait_for_address(&mut self) {
        self.address_within(PATIENCE);
    }

    fn address_within(&mut self, patience: Duration) {
        self.address = self.wait_within(patience, "an address", |text| {
            let start =
                text.find("http://127.0.0.1:").map(|at| at + 7).or_else(|| text.find("address=").map(|at| at + 8))?;
            let end = text[start..].find(|character: char| !character.is_ascii_digit() && !".:".contains(character))?;
            text[start..start + end].parse().ok()
        });
    }

    /// Starts a daemon without waiting for it to serve.
    pub(crate) fn spawn(command: Command) -> Self {
        let (daemon, stderr) = Self::spawn_unread(command);
        daemon.written.follow(stderr, None);
        daemon
    }

    /// Starts `dev`, whose address is on stdout, and waits until it serves. What it prints to stderr is the caller's to read.
    pub(crate) fn with_unread_stderr(command: Command) -> (Self, ChildStderr) {
        let (mut daemon, stderr) = Self::spawn_unread(command);
        daemon.wait_for_address();
        (daemon, stderr)
    }

    fn spawn_unread(mut command: Command) -> (Self, ChildStderr) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let written = Arc::new(Written::default());
        let stdout = Arc::new(Written::default());
        written.follow(child.stdout.take().unwrap(), Some(Arc::clone(&stdout)));
        let stderr = child.stderr.take().unwrap();
        (Self { child, written, stdout, address: SocketAddr::from(([127, 0, 0, 1], 0)) }, stderr)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far, both streams together.
    pub(crate) fn output(&self) -> String {
        self.written.text.lock().unwrap().clone()
    }

    /// What was printed so far to stdout.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text.lock().unwrap().clone()
    }

    /// Waits until what was printed satisfies `probe`.
    pub(crate) fn wait_for<T>(&mut self, what: &str, probe: impl FnMut(&str) -> Option<T>) -> T {
        self.wait_within(PATIENCE, what, probe)
    }

    fn wait_within<T>(&mut self, patience: Duration, what: &str, mut probe: impl FnMut(&str) -> Option<T>) -> T {
        let deadline = Instant::now() + patience;
        let mut text = self.written.text.lock().unwrap();
        loop {
            if let Some(found) = probe(&text) {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < deadline, "gave up waiting for {what} ({ended:?}):\n{text}");
            text = self.written.more.wait_timeout(text, Duration::from_millis(100)).unwrap().0;
        }
    }

    pub(crate) fn wait_for_text(&mut self, wanted: &str) {
        self.wait_for(wanted, |text| text.contains(wanted).then_some(()));
    }

    /// A GET of its own thread, for requests that take a while.
    pub(crate) fn background(&self, path: &str) -> thread::JoinHandle<Option<Response>> {
        let (address, path) = (self.address, path.to_owned());
        thread::spawn(move || {
            let mut stream = TcpStream::connect(address).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            stream
                .write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes())
                .ok()?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).ok()?;
            Response::parse(&bytes)
        })
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &str) -> Response {
        self.request("POST", path, &[("content-type", "application/json")], body.as_bytes())
    }

    /// One request on a connection of its own.
    pub(crate) fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Response::parse(&self.raw(&bytes)).unwrap_or_else(|| panic!("no answer to {method} {path}:\n{}", self.output()))
    }

    /// Sends bytes and reads to the end of the connection. What cannot be sent any more is left.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        let sent = stream.write_all(bytes);
        if let Err(error) = sent {
            assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
        }
        read_to_end(&mut stream)
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal("-TERM");
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the daemon did not end:\n{}", self.output());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Process ids of the daemon's children, whichever of its threads started them: its workers.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let children = threads.filter_map(|thread| fs::read_to_string(thread.unwrap().path().join("children")).ok());
        children
            .flat_map(|pids| pids.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
            .collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
    }
}

/// Sends a signal to a process, which may have ended meanwhile.
pub(crate) fn kill(pid: u32, signal: &str) {
    Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
}

/// Whether a process is there and not only waiting to be reaped.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Reads until the other side closes; a reset is an end too.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{error} after {}", text(&bytes)),
    }
    drop(stream.shutdown(Shutdown::Both));
    bytes
}

/// An answer, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The answer to a WebSocket's request that was refused.
    pub(crate) fn of(answer: &http::Response<Option<Vec<u8>>>) -> Self {
        let headers = answer.headers().iter();
        Self {
            status: answer.status().as_u16(),
            headers: headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect(),
            body: answer.body().clone().unwrap_or_default(),
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers =
            lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_owned(), value.to_owned()));
        Some(Self { status, headers: headers.collect(), body: bytes[end + 4..].to_vec() })
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
