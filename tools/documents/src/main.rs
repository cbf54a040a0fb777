//! Automation for the documentation: pages generated from the sources (`make generate`), the recording of the demo
//! (`make recording`), and a check of every link of the built site (`make docs`).

mod api;
mod copies;
mod flags;
mod recording;
mod site;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Subcommands, to be run from the root of the repository.
#[derive(Subcommand)]
enum Command {
    /// Write the generated pages into this folder.
    Pages {
        /// The folder, such as docs
        folder: PathBuf,
    },
    /// Run a command and draw its output over time as SVG on standard output.
    Record {
        /// The command as shown in the first line
        #[arg(long)]
        shown: String,
        /// The command to run
        #[arg(required = true, trailing_var_arg = true)]
        command: Vec<String>,
    },
    /// Fail if a link inside of the built site is broken.
    Check {
        /// The folder, such as target/book
        site: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("documents: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Pages { folder } => {
            let pages = [
                ("api.md", api::page()?),
                ("flags.md", flags::page()?),
                ("examples.md", copies::examples()?),
                ("values.md", copies::values()?),
            ];
            for (name, text) in pages {
                let file = folder.join(name);
                std::fs::write(&file, text).with_context(|| file.display().to_string())?;
            }
            Ok(())
        }
        Command::Record { shown, command } => {
            print!("{}", recording::record(&shown, &command)?);
            Ok(())
        }
        Command::Check { site } => site::check(&site),
    }
}

/// Returns the line that names the source of a page.
fn generated(from: &str) -> String {
    format!("<!-- Generated from {from} by `make generate`. Do not edit. -->\n\n")
}

/// Escapes text for the cell of a Markdown table.
fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|").replace('*', "\\*")
}
