//! Output of the demo: a line for each step, with the time it took, and tables.
//!
//! Write errors are ignored (`make demo | head`), so that the demo still stops everything that it started.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

/// Output of the demo.
pub(crate) struct Console {
    terminal: bool,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self { terminal: stdout().is_terminal() }
    }

    /// Begins a step. A terminal shows it while it runs.
    pub(crate) fn begin(&self, what: impl Display) -> Step<'_> {
        if self.terminal {
            // Only text that fits into one line can be erased.
            let what: String = what.to_string().chars().take(60).collect();
            write(format_args!("           {what} ..."));
        }
        Step { console: self, start: Instant::now(), shown: self.terminal }
    }

    pub(crate) fn line(&self, text: impl Display) {
        write(format_args!("{text}\n"));
    }

    /// Prints a detail of the previous step.
    pub(crate) fn detail(&self, text: impl Display) {
        self.line(format_args!("           {text}"));
    }

    /// Prints a message of the operator, each sentence on its own line or lines.
    pub(crate) fn quote(&self, text: &str) {
        const WIDTH: usize = 100;
        for sentence in text.split_inclusive(". ") {
            let mut line = String::new();
            for word in sentence.split_whitespace() {
                if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > WIDTH {
                    self.detail(std::mem::take(&mut line));
                    line.push_str("  ");
                } else if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            self.detail(line);
        }
    }

    /// Prints a command as typed, and its output.
    pub(crate) fn command(&self, command: &str, answer: &str) {
        self.line(format_args!("\n$ {command}\n{}", answer.trim_end()));
    }

    /// Prints a table like those of kubectl.
    pub(crate) fn table(&self, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
        let widths: Vec<usize> = (0..columns)
            .map(|column| rows.iter().filter_map(move |row| row.get(column)).map(|cell| cell.chars().count()))
            .map(|widths| widths.max().unwrap_or_default())
            .collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}   "));
            self.line(cells.collect::<String>().trim_end());
        }
    }
}

/// Running step.
pub(crate) struct Step<'a> {
    console: &'a Console,
    start: Instant,
    shown: bool,
}

impl Step<'_> {
    /// Prints the outcome in one line.
    pub(crate) fn done(mut self, what: impl Display) {
        self.erase();
        self.console.line(format_args!("[{:>6}]   {what}", seconds(self.start.elapsed())));
    }

    fn erase(&mut self) {
        if std::mem::take(&mut self.shown) {
            write(format_args!("\r\x1b[K"));
        }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.erase();
    }
}

pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn write(text: std::fmt::Arguments<'_>) {
    let mut out = stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}
