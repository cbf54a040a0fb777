//! Shell that keeps its state between commands, like a reader's shell.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::wait::must_finish;

/// Marker in the line after a command's output, before its exit code.
const END: &str = "--- the command has ended with";

pub struct Shell {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Shell {
    /// Starts `command`, which is bash with a folder and an environment.
    pub fn start(mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take().unwrap(), output, _child: child }
    }

    /// Runs a command. Returns its combined output and its exit code.
    pub async fn run(&mut self, command: &str) -> (String, i32) {
        let typed = format!("{{ {command}\n}} </dev/null 2>&1; printf '\\n{END} %s\\n' $?\n");
        self.input.write_all(typed.as_bytes()).await.unwrap();
        let mut printed = String::new();
        loop {
            let line = must_finish(command, self.output.next_line()).await.unwrap();
            let Some(line) = line else { panic!("the shell exited at {command}: {printed}") };
            if let Some(code) = line.strip_prefix(END) {
                return (printed.trim_end().to_owned(), code.trim().parse().unwrap());
            }
            printed.push_str(&line);
            printed.push('\n');
        }
    }

    /// Like [`run`](Self::run), for a command that must succeed.
    pub async fn succeed(&mut self, command: &str) -> String {
        let (printed, code) = self.run(command).await;
        assert_eq!(code, 0, "{command}\n{printed}");
        printed
    }
}
