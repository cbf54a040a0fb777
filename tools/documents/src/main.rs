//! What a machine can do for the documents: the pages that follow from the sources (`make generate`), the recording of
//! the demonstration (`make recording`), and a look at every link of the built site (`make docs`).

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

/// What can be done, from the root of the repository.
#[derive(Subcommand)]
enum Command {
    /// Write the generated pages into this folder.
    Pages {
        /// Such as docs.
        folder: PathBuf,
    },
    /// Run a command and draw what it prints, when it prints it, as SVG on standard output.
    Record {
        /// The command as it is shown in the first line.
        #[arg(long)]
        shown: String,
        /// The command that is run.
        #[arg(required = true, trailing_var_arg = true)]
        command: Vec<String>,
    },
    /// Fail if a link inside of the built site leads nowhere.
    Check {
        /// Such as target/book.
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

/// The line that says where a page comes from.
fn generated(from: &str) -> String {
    format!("<!-- Generated from {from} by `make generate`. Do not edit. -->\n\n")
}

/// Text of which no character means anything to Markdown in the cell of a table.
fn escaped(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|").replace('*', "\\*")
}
