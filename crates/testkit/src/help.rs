//! The help texts of a program.

use std::fmt::Write as _;

/// The long help of a command and of its subcommands.
pub fn long_help(mut command: clap::Command) -> String {
    let mut text = format!("{}\n", command.render_long_help());
    let name = command.get_name().to_owned();
    for subcommand in command.get_subcommands().cloned().collect::<Vec<_>>() {
        let mut subcommand = subcommand.clone();
        // A write to a String never fails.
        let _ = writeln!(
            text,
            "# {name} {}\n\n{}",
            subcommand.get_name().to_owned(),
            subcommand.render_long_help()
        );
    }
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>().trim_end().to_owned()
}
