//! The command line as a binary has it, with its output kept.

#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

use std::path::{Path, PathBuf};

use clap::Parser;
use onhand_plugin_cli::{EXAMPLES, PluginCommand, Terminal, run};

/// The command line that a host nests the commands in.
#[derive(Debug, Parser)]
#[command(name = "onhand plugin", about = "Make, try and ship plugins.", after_help = EXAMPLES,
    max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: PluginCommand,
}

/// What came of a command.
#[derive(Debug)]
pub struct Done {
    pub code: u8,
    pub out: String,
    pub err: String,
}

impl Done {
    /// Returns the one JSON object that was printed.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks the exit code.
    pub fn expect(self, code: u8) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.out, self.err);
        self
    }
}

/// Runs a command.
pub fn plugin<S: AsRef<str>>(arguments: &[S]) -> Done {
    let all = std::iter::once("onhand plugin").chain(arguments.iter().map(AsRef::as_ref));
    let cli = match Cli::try_parse_from(all) {
        Ok(cli) => cli,
        Err(error) => {
            let (code, text) = (error.exit_code() as u8, error.to_string());
            let (out, err) = if code == 0 { (text, String::new()) } else { (String::new(), text) };
            return Done { code, out, err };
        }
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&cli.command, &mut Terminal::plain(&mut out, &mut err));
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Done { code, out: text(out), err: text(err) }
}

/// A folder with a project of WebAssembly text in it.
pub struct Project {
    root: tempfile::TempDir,
    pub dir: PathBuf,
}

impl Project {
    /// Makes a project that is not built yet.
    pub fn new(kind: &str) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let into = root.path().display().to_string();
        plugin(&["new", "first", "--kind", kind, "--lang", "wat", "--into", &into]).expect(0);
        let dir = root.path().join("first");
        Self { root, dir }
    }

    /// Makes a project and builds it.
    pub fn built(kind: &str) -> Self {
        let project = Self::new(kind);
        project.run(&["build"]).expect(0);
        project
    }

    /// Makes a pricing project whose source was changed, and builds it.
    pub fn changed(from: &str, to: &str) -> Self {
        let project = Self::new("pricing");
        project.change("src/plugin.wat", from, to);
        project.run(&["build"]).expect(0);
        project
    }

    pub fn path(&self, file: &str) -> String {
        self.dir.join(file).display().to_string()
    }

    /// Returns a path beside the project.
    pub fn beside(&self, file: &str) -> String {
        self.root.path().join(file).display().to_string()
    }

    pub fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.dir.join(file)).expect("a file")
    }

    pub fn write(&self, file: &str, text: &str) {
        std::fs::write(self.dir.join(file), text).expect("a file");
    }

    /// Changes one place of a file.
    pub fn change(&self, file: &str, from: &str, to: &str) {
        let text = self.read(file);
        assert!(text.contains(from), "{file} has no {from:?}:\n{text}");
        self.write(file, &text.replacen(from, to, 1));
    }

    /// Runs a command about the project: its folder comes where the command takes a plugin.
    pub fn run(&self, arguments: &[&str]) -> Done {
        let dir = self.dir.display().to_string();
        let mut all = vec![arguments[0]];
        if arguments[0] == "test" {
            all.push("--plugin");
        }
        all.push(&dir);
        all.extend(&arguments[1..]);
        plugin(&all)
    }
}

/// Returns whether a path is there.
pub fn is_there(path: &str) -> bool {
    Path::new(path).exists()
}
