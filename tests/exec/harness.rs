//! A real `mlp exec` on its pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A running `mlp exec`.
pub struct Exec {
    pub child: Child,
    pub input: Option<ChildStdin>,
    pub output: BufReader<ChildStdout>,
    pub ready: Value,
}

pub fn mlp(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlp"));
    command.args(arguments);
    command
}

fn exec_command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = mlp(&["exec", "--data"]);
    command.arg(folder).args(arguments);
    command
}

impl Exec {
    pub fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self::run(exec_command(folder, arguments))
    }

    pub fn in_memory(arguments: &[&str]) -> Self {
        let mut command = mlp(&["exec", "--engine", "memory"]);
        command.args(arguments);
        Self::run(command)
    }

    fn run(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut exec = Exec { child, input, output, ready: Value::Null };
        exec.ready = exec.read();
        exec
    }

    pub fn send(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.write_all(b"\n").unwrap();
    }

    pub fn read_line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    pub fn read(&mut self) -> Value {
        let line = self.read_line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// The reply to one request as it was printed.
    pub fn say(&mut self, line: &str) -> String {
        self.send(line);
        self.read_line()
    }

    pub fn ask(&mut self, request: Value) -> Value {
        self.send(&request.to_string());
        self.read()
    }

    /// What the request answers behind `ok`.
    pub fn ok(&mut self, request: Value) -> Value {
        let reply = self.ask(request.clone());
        reply.get("ok").unwrap_or_else(|| panic!("{request} answered {reply}")).clone()
    }

    /// The kind and message of the error that the line answers.
    pub fn refused(&mut self, line: &str) -> (String, String) {
        let reply: Value = serde_json::from_str(&self.say(line)).unwrap();
        let text = |field: &str| {
            reply["error"][field].as_str().unwrap_or_else(|| panic!("{line} answered {reply}")).to_owned()
        };
        (text("kind"), text("message"))
    }

    /// Ends the input; answers the exit code and what was still printed.
    pub fn finish(mut self) -> (Option<i32>, String) {
        drop(self.input.take());
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }

    /// Ends the process as a crash would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        // A failing test must not leave a process behind; one that has ended is no news.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
