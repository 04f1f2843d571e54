//! What a partner ships: a manifest, the bundle around a component, its signatures, and the
//! fixtures that show what it decides.
//!
//! Everything that is read here comes from outside: sizes, names, numbers and texts are checked
//! before they are used, and what is refused is named with its field, value and range. Nothing
//! here runs a component; that is the runtime's work.
//!
//! # Reading order
//!
//! [`Manifest`] is `plugin.toml`. [`Bundle`] is the file around it, [`BundleBuilder`] makes one.
//! [`SigningKey`] signs it and [`Trust`] says whose signature counts. [`Fixture`] is an input with
//! the answer that it should have.
//!
//! # Example
//!
//! ```
//! use onhand_plugin_bundle::{Bundle, BundleBuilder, BundleLimits, SigningKey, Trust};
//!
//! let manifest = r#"
//!     id = "acme/tiers"
//!     version = "1.2.0"
//!     kind = "pricing"
//!     wit = "onhand:pricing@1.0.0"
//!     license = "Apache-2.0"
//! "#;
//! let limits = BundleLimits::default();
//! let mut bundle = BundleBuilder::new(manifest, b"\0asm\x0d\0\x01\0".to_vec()).build(&limits)?;
//! let key = SigningKey::from_seed([7; 32]);
//! bundle.sign(&key, &limits)?;
//!
//! let read = Bundle::read(bundle.bytes(), &limits)?;
//! assert_eq!(read.manifest().id, "acme/tiers");
//! let trust = Trust::read(&format!("[signers.acme]\nkey = \"{}\"", key.public()))?;
//! assert_eq!(trust.check(&read, 0)?.name, "acme");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod archive;
mod bundle;
mod expect;
mod fixture;
mod key;
mod kind;
mod limit;
mod manifest;
mod name;
mod sbom;
mod schema;
mod signature;
mod text;
mod trust;

pub use answer::Answer;
pub use bundle::{Bundle, BundleBuilder, BundleError, BundleLimits, FIXTURES_MAX};
pub use expect::Mismatch;
pub use fixture::{CONFIG_DEFAULT, Facts, Fixture, FixtureError};
pub use key::{KeyError, KeyId, PublicKey, SigningKey};
pub use kind::Kind;
pub use limit::{LIMITS, Limit};
pub use manifest::{Build, Language, Manifest, OnFailure};
pub use sbom::Part;
pub use schema::{ConfigFault, DEPTH_MAX, NODES_MAX, Schema, SchemaError};
pub use signature::{SIGNATURES_MAX, Signature};
pub use text::TextError;
pub use trust::{Signer, Trust, TrustError};
