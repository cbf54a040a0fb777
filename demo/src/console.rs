//! What the demo prints: a line for each step, with the time it took, and tables.
//!
//! Nothing here fails if nobody reads on (`make demo | head`): the demo then still stops what it started.

use std::fmt::Display;
use std::io::{IsTerminal as _, Write as _, stdout};
use std::time::{Duration, Instant};

/// Where the demo prints.
pub(crate) struct Console {
    terminal: bool,
}

impl Console {
    pub(crate) fn new() -> Self {
        Self { terminal: stdout().is_terminal() }
    }

    /// Begins a step. A terminal shows it while it lasts.
    pub(crate) fn begin(&self, what: impl Display) -> Step<'_> {
        if self.terminal {
            // Only what fits into one line can be erased.
            let what: String = what.to_string().chars().take(60).collect();
            write(format_args!("           {what} ..."));
        }
        Step { console: self, start: Instant::now(), shown: self.terminal }
    }

    pub(crate) fn line(&self, text: impl Display) {
        write(format_args!("{text}\n"));
    }

    /// More about the step before.
    pub(crate) fn detail(&self, text: impl Display) {
        self.line(format_args!("           {text}"));
    }

    /// What the operator has to say, a line or more for each sentence.
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

    /// A command as one would type it, and what it answered.
    pub(crate) fn command(&self, command: &str, answer: &str) {
        self.line(format_args!("\n$ {command}\n{}", answer.trim_end()));
    }

    /// A table like those of kubectl.
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

/// A step under way.
pub(crate) struct Step<'a> {
    console: &'a Console,
    start: Instant,
    shown: bool,
}

impl Step<'_> {
    /// Says what has happened, in one line.
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
