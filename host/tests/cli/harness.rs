//! Runs the program, and compares what it prints with texts.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Lines, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::sync_channel,
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a host may take to be ready: it compiles its components, on a machine that is busy.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// What a finished program left.
#[derive(Debug)]
pub(crate) struct Output {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Its output as one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The same program, which must have ended well.
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Compares the output, then what came on standard error, with a file of `expected/`.
    /// With `UPDATE_EXPECTED` in the environment the file is written instead.
    pub(crate) fn expect(&self, name: &str) {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        let mut text = format!("{stdout}── exit code {code}\n");
        if !stderr.is_empty() {
            text.push_str("── standard error\n");
            text.push_str(stderr);
        }
        expect_text(&text, name);
    }
}

/// Compares a text with a file of `expected/`.
pub(crate) fn expect_text(text: &str, name: &str) {
    let path = here().join("expected").join(name);
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        return fs::write(&path, text).unwrap();
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; got:\n{text}", path.display()));
    assert_eq!(
        text,
        expected,
        "{} differs; `UPDATE_EXPECTED=1` writes it",
        path.display()
    );
}

/// Runs the program in `files/`, to its end.
pub(crate) fn xcomponent<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    finished(command().args(args))
}

/// Runs a program to its end.
pub(crate) fn finished(program: &mut Command) -> Output {
    let output = program.output().expect("the program can be started");
    Output {
        code: output.status.code().expect("the program was not killed"),
        stdout: String::from_utf8(output.stdout).expect("the output is text"),
        stderr: String::from_utf8(output.stderr).expect("the output is text"),
    }
}

/// The program, in `files/`, with an environment that says nothing.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xcomponent"));
    command
        .current_dir(here().join("files"))
        .stdin(Stdio::null());
    for name in [
        "NO_COLOR",
        "RUST_LOG",
        "XCOMPONENT_URL",
        "XCOMPONENT_CACHE",
        "XCOMPONENT_CODE_CACHE",
        "XCOMPONENT_DATA",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
    ] {
        command.env_remove(name);
    }
    command
}

/// A packed guest of `components/`.
pub(crate) fn guest(name: &str) -> PathBuf {
    let built = || root().join("target/guests");
    let folder = std::env::var_os("XCOMPONENT_GUESTS").map_or_else(built, PathBuf::from);
    let path = folder.join(format!("{name}.wasm"));
    assert!(
        path.exists(),
        "{} is not there; build the guests with `cargo xtask guests`",
        path.display()
    );
    path
}

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli")
}

/// A folder of a test's own, empty at its beginning.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // It is not there the first time.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A host that serves on a port of its own. Dropped, it is killed.
pub(crate) struct Serving {
    child: Child,
    /// The line that it printed when it was ready.
    pub(crate) ready: Value,
    stderr: Option<thread::JoinHandle<String>>,
}

impl Serving {
    /// Starts a host that keeps nothing with these arguments, and waits until it is ready.
    pub(crate) fn start<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Self {
        Self::run(command().args(["serve", "--store", "memory"]).args(args))
    }

    /// The same of one that keeps everything in a folder.
    pub(crate) fn start_in<S: AsRef<OsStr>>(
        data: &Path,
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        Self::run(command().args(["serve", "--data"]).arg(data).args(args))
    }

    /// The same of one that keeps nothing and is told this by its environment.
    pub(crate) fn start_told<S: AsRef<OsStr>>(
        environment: &[(&str, &OsStr)],
        args: impl IntoIterator<Item = S>,
    ) -> Self {
        let mut serve = command();
        serve.args(["serve", "--store", "memory"]).args(args);
        serve.envs(environment.iter().copied());
        Self::run(&mut serve)
    }

    fn run(serve: &mut Command) -> Self {
        let mut child = serve
            .args(["--json", "--port", "0"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let mut stderr = child.stderr.take().expect("it is piped");
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).expect("it is text");
            text
        });
        let (tell, told) = sync_channel(1);
        thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(stdout).read_line(&mut line);
            tell.send(read.map(|_| line))
        });
        let mut serving = Self {
            child,
            ready: Value::Null,
            stderr: Some(stderr),
        };
        let line = told.recv_timeout(READY_WITHIN);
        let line = line.expect("the host is ready in time").unwrap();
        if line.is_empty() {
            panic!("the host ended: {:?}", serving.wait());
        }
        serving.ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        serving
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        self.ready["url"]
            .as_str()
            .expect("a ready host has an address")
    }

    /// Runs the program, which is to ask this host, to its end.
    pub(crate) fn ask<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Output {
        let mut args: Vec<_> = args
            .into_iter()
            .map(|arg| arg.as_ref().to_owned())
            .collect();
        args.extend(["--url".into(), self.url().into()]);
        xcomponent(args)
    }

    /// Runs the program, which is to ask this host and go on, and gives the lines that it prints.
    pub(crate) fn watch<const N: usize>(&self, args: [&str; N]) -> Watching {
        let mut child = command()
            .args(args)
            .args(["--url", self.url()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("it is piped");
        Watching {
            child,
            lines: BufReader::new(stdout).lines(),
        }
    }

    /// Creates an instance.
    pub(crate) fn create(&self, component: &str, machine: &str, new: &Value) -> Value {
        let url = format!(
            "{}/v1/components/{component}/machines/{machine}/instances",
            self.url()
        );
        let answer = ureq::post(url).send_json(new);
        let mut answer = answer.unwrap_or_else(|error| panic!("{error}"));
        answer.body_mut().read_json().unwrap()
    }

    /// Tells it to end; gives its exit code and what it said on standard error.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        self.tell_to_end();
        self.wait()
    }

    /// Tells it to end.
    pub(crate) fn tell_to_end(&self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    }

    /// Waits until it has ended; gives its exit code and what it said on standard error.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        let stderr = self.stderr.take().expect("it is waited for once");
        (status, stderr.join().unwrap())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program that goes on until it is killed. Dropped, it is.
pub(crate) struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watching {
    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let line = self.lines.next().expect("it goes on");
        line.expect("the output is text")
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
