//! The commands `completions` and `man`: what a shell and a reader need of the command line.

use std::process::ExitCode;

use clap::{Args, Command};

use super::{USAGE_MARK, out};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The command that the page is about; without one, the whole
    #[arg(value_name = "COMMAND")]
    command: Option<String>,
}

/// Prints completions for a shell.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut bytes);
    out(&String::from_utf8_lossy(&bytes));
    ExitCode::SUCCESS
}

/// Prints a page of the manual as roff.
pub(super) fn man(args: &ManArgs, mut command: Command) -> Result<ExitCode, String> {
    command.build();
    let page = match &args.command {
        None => command,
        Some(name) => {
            let known = || {
                let names = command.get_subcommands().map(Command::get_name);
                names.collect::<Vec<_>>().join(", ")
            };
            let found = command.find_subcommand(name).cloned();
            found.ok_or_else(|| format!("{USAGE_MARK}no command {name:?}: {}", known()))?
        }
    };
    let mut bytes = Vec::new();
    let written = clap_mangen::Man::new(page).render(&mut bytes);
    written.map_err(|e| format!("the page can't be written: {e}"))?;
    out(&String::from_utf8_lossy(&bytes));
    Ok(ExitCode::SUCCESS)
}
