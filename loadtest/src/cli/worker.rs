//! The command `worker`, and what `run` and `find` are told about workers.

use std::net::TcpListener;
use std::process::ExitCode;

use crate::crew::{Token, WorkerOptions, Workers, serve};
use clap::Args;

use super::scenario::TrustArgs;
use super::{USAGE_MARK, out, stop_on_interrupt, text_of};

/// Environment variable that holds the token by default.
const TOKEN_ENV: &str = "ONHAND_WORKER_TOKEN";

#[derive(Debug, Args)]
pub(super) struct WorkersArgs {
    /// Let other processes drive the load: `onhand-loadtest worker --listen` on other machines
    #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
    workers: Vec<String>,
    /// Environment variable that holds the token of the workers
    #[arg(long, value_name = "NAME", default_value = TOKEN_ENV)]
    token_env: String,
}

impl WorkersArgs {
    /// Returns the workers, if there are any.
    pub(super) fn workers(&self) -> Result<Option<Workers>, String> {
        if self.workers.is_empty() {
            return Ok(None);
        }
        let token = token(&self.token_env)?;
        Ok(Some(Workers { addresses: self.workers.clone(), token }))
    }
}

fn token(name: &str) -> Result<Token, String> {
    let text = std::env::var(name).map_err(|_| {
        format!(
            "{USAGE_MARK}the environment variable {name} holds no token; coordinator and workers \
             need the same one, such as of `openssl rand -hex 16`"
        )
    })?;
    Token::new(&text).map_err(|error| format!("{} (of {name})", text_of(error)))
}

#[derive(Debug, Args)]
pub(super) struct WorkerArgs {
    /// Where coordinators are awaited, such as 0.0.0.0:7700; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT")]
    listen: String,
    /// Environment variable that holds the token that coordinators must know
    #[arg(long, value_name = "NAME", default_value = TOKEN_ENV)]
    token_env: String,
    /// Environment variable that holds the API key for the hosts; it never travels
    #[arg(long, value_name = "NAME", default_value = "ONHAND_KEY")]
    key_env: String,
    #[command(flatten)]
    trust: TrustArgs,
    /// End after one run
    #[arg(long)]
    once: bool,
    /// Say nothing but the address
    #[arg(long, short)]
    quiet: bool,
}

/// Waits for coordinators and drives what they ask.
pub(super) fn run_worker(args: &WorkerArgs) -> Result<ExitCode, String> {
    let token = token(&args.token_env)?;
    let listener = TcpListener::bind(&args.listen);
    let listener = listener.map_err(|e| format!("{} can't be listened on: {e}", args.listen))?;
    let address = listener.local_addr().map_err(|e| format!("the address is unknown: {e}"))?;
    out(&format!("listening on {address}\n"));
    let quiet = args.quiet;
    let options = WorkerOptions {
        token,
        api_key: std::env::var(&args.key_env).ok().filter(|key| !key.is_empty()),
        trust: args.trust.trust(),
        once: args.once,
        stop: stop_on_interrupt(),
        say: Box::new(move |text| {
            if !quiet {
                eprintln!("{text}");
            }
        }),
    };
    serve(&listener, options).map_err(text_of)?;
    Ok(ExitCode::SUCCESS)
}
