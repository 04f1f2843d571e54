//! `onhand plugin keygen`, `sign` and `verify`.

use std::path::{Path, PathBuf};

use clap::Args;
use onhand_core::{Clock as _, SystemClock};
use onhand_plugin_bundle::{BundleLimits, KeyError, SigningKey, Trust, TrustError};
use serde_json::json;

use crate::figures::hex;
use crate::subject::{read_bundle, read_text};
use crate::terminal::{Failure, Terminal};
use crate::{DONE, FILE, USAGE};

const KEYGEN_EXAMPLES: &str = "\
Writes PATH with the secret key, readable by you alone, and PATH.pub with the public one. A file
that is there is never overwritten. Keep the secret off the machine that builds, if you can.

Example:
  onhand plugin keygen acme.key";

const SIGN_EXAMPLES: &str = "\
Examples:
  onhand plugin sign tiers-1.0.0.onhand --key acme.key
  onhand plugin sign tiers-1.0.0.onhand --key acme.key --out signed.onhand";

const VERIFY_EXAMPLES: &str = "\
A trust file says whose bundles a host takes:
  [signers.acme]
  key = \"ed25519:...\"               the line of acme.key.pub
  plugins = [\"acme/*\"]              which plugins; all if left out
  kinds = [\"pricing\"]               which kinds; all if left out
  expires = 2027-12-31T00:00:00Z    until when; for ever if left out

Example:
  onhand plugin verify tiers-1.0.0.onhand --trust trust.toml";

/// Arguments of `onhand plugin keygen`.
#[derive(Debug, Args)]
#[command(after_help = KEYGEN_EXAMPLES)]
pub struct Keygen {
    /// File for the secret key
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `onhand plugin sign`.
#[derive(Debug, Args)]
#[command(after_help = SIGN_EXAMPLES)]
pub struct Sign {
    /// Bundle to sign
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// File with the secret key
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to write the signed bundle; over the bundle itself if left out
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `onhand plugin verify`.
#[derive(Debug, Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct Verify {
    /// Bundle to verify
    #[arg(value_name = "BUNDLE")]
    bundle: PathBuf,
    /// Trust file
    #[arg(long, value_name = "FILE")]
    trust: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Returns what a key that is not there means for a command.
pub(crate) fn key_failure(error: &KeyError) -> Failure {
    let code = match error {
        KeyError::Text(_) => USAGE,
        _ => FILE,
    };
    Failure::new(code, error.to_string())
}

/// Reads the file of a secret key.
pub(crate) fn read_key(path: &Path) -> Result<SigningKey, Failure> {
    SigningKey::read_file(path).map_err(|error| match error {
        KeyError::Text(why) => Failure::usage(format!("{}: {why}", path.display())),
        other => key_failure(&other),
    })
}

/// Writes a file in one step, so that no half of it is ever there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let io = |error: std::io::Error| Failure::file(path, &error);
    std::fs::write(&new, bytes).map_err(io)?;
    std::fs::rename(&new, path).map_err(io)
}

/// Makes a pair of keys.
pub(crate) fn keygen(arguments: &Keygen, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let key = SigningKey::generate().map_err(|error| key_failure(&error))?;
    let public_path = key.write_files(&arguments.path).map_err(|error| key_failure(&error))?;
    let (public, id) = (key.public().to_string(), key.public().id().to_string());
    if arguments.json {
        terminal.json(&json!({
            "schema": "onhand.plugin.keygen/1",
            "secret": arguments.path.display().to_string(),
            "public": public_path.display().to_string(),
            "key": public,
            "id": id,
        }));
    } else {
        let text = format!(
            "secret key  {}  (yours alone)\npublic key  {}\nkey id      {id}\n\n\
             A host that takes your bundles has this in its trust file:\n  \
             [signers.NAME]\n  key = \"{public}\"\n",
            arguments.path.display(),
            public_path.display()
        );
        terminal.say(&text);
    }
    Ok(DONE)
}

/// Signs a bundle.
pub(crate) fn sign(arguments: &Sign, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let mut bundle = read_bundle(&arguments.bundle)?;
    let key = read_key(&arguments.key)?;
    bundle
        .sign(&key, &BundleLimits::default())
        .map_err(|error| Failure::unfit(error.to_string()))?;
    let out = arguments.out.as_ref().unwrap_or(&arguments.bundle);
    write(out, bundle.bytes())?;
    let id = key.public().id().to_string();
    if arguments.json {
        terminal.json(&json!({
            "schema": "onhand.plugin.sign/1",
            "bundle": out.display().to_string(),
            "hash": hex(&bundle.hash()),
            "key_id": id,
            "signatures": bundle.signatures().len(),
        }));
    } else {
        terminal.say(&format!("{} is signed by {id}\n", out.display()));
    }
    Ok(DONE)
}

/// Verifies a bundle.
pub(crate) fn verify(arguments: &Verify, terminal: &mut Terminal<'_>) -> Result<u8, Failure> {
    let text = read_text(&arguments.trust)?;
    let trust = Trust::read(&text).map_err(|error| {
        let place = format!("{}:{}:{}", arguments.trust.display(), error.line, error.column);
        let failure = Failure::usage(format!("{place}: {}", error.message));
        match error.help {
            Some(help) => failure.help(help),
            None => failure,
        }
    })?;
    let bundle = read_bundle(&arguments.bundle)?;
    let now_ms = SystemClock.now().millis();
    let checked = trust.check(&bundle, now_ms);
    if arguments.json {
        terminal.json(&json!({
            "schema": "onhand.plugin.verify/1",
            "bundle": arguments.bundle.display().to_string(),
            "ok": checked.is_ok(),
            "signer": checked.as_ref().ok().map(|signer| &signer.name),
            "error": checked.as_ref().err().map(ToString::to_string),
            "hash": hex(&bundle.hash()),
        }));
    }
    let name = arguments.bundle.display();
    match checked {
        Ok(signer) => {
            if !arguments.json {
                let ok = terminal.verdict(true);
                terminal.say(&format!("{ok} {name} is by {}\n", signer.name));
            }
            Ok(DONE)
        }
        Err(error) => Err(Failure::unfit(format!("{name}: {error}")).help(trust_help(&error))),
    }
}

const fn trust_help(error: &TrustError) -> &'static str {
    match error {
        TrustError::Unsigned => "sign it: `onhand plugin sign BUNDLE --key FILE`",
        TrustError::Unknown { .. } => {
            "if you know who has signed it, add their public key to the trust file"
        }
        TrustError::Forged { .. } => "do not use it: get the bundle from its maker again",
        TrustError::Expired { .. } => {
            "ask for a bundle that is signed with a new key, or move `expires` in the trust file"
        }
        _ => "`plugins` and `kinds` of the signer in the trust file say what is allowed",
    }
}
