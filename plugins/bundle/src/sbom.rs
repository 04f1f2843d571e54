//! What a plugin is made of, as a minimal `CycloneDX` document.
//!
//! It has no time and no serial number, so that the same plugin has the same document.
//!
//! Source: `CycloneDX` 1.5, JSON.

use serde_json::{Value, json};

use crate::key::hex;
use crate::manifest::Manifest;

/// Most parts that a document names.
pub(crate) const PARTS_MAX: usize = 2_000;

/// A part that a plugin is made of, such as a library.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its version; may be empty if it is not known.
    pub version: String,
}

/// Writes the document of a plugin.
pub(crate) fn write(manifest: &Manifest, wasm: &[u8], parts: &[Part]) -> String {
    let Manifest { id, version, license, .. } = manifest;
    let part = |part: &Part| {
        let mut value = json!({ "type": "library", "name": part.name });
        if !part.version.is_empty() {
            value["version"] = json!(part.version);
        }
        value
    };
    let document = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": {
            "type": "application",
            "name": id,
            "version": version,
            "licenses": [{ "expression": license }],
            "hashes": [{ "alg": "BLAKE3", "content": hex(blake3::hash(wasm).as_bytes()) }],
        } },
        "components": parts.iter().map(part).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

/// Checks that a document is one, and of this plugin.
pub(crate) fn check(bytes: &[u8], manifest: &Manifest, wasm: &[u8]) -> Result<(), String> {
    let document: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no JSON: {error}"))?;
    if document["bomFormat"] != "CycloneDX" {
        return Err("it is no CycloneDX document".to_owned());
    }
    let own = &document["metadata"]["component"];
    if own["name"] != manifest.id.as_str() || own["version"] != manifest.version.as_str() {
        return Err("it is of another plugin or version than plugin.toml".to_owned());
    }
    let hash = hex(blake3::hash(wasm).as_bytes());
    let is_hash = |one: &Value| one["alg"] == "BLAKE3" && one["content"] == hash.as_str();
    if !own["hashes"].as_array().is_some_and(|list| list.iter().any(is_hash)) {
        return Err("it does not have the BLAKE3 of plugin.wasm".to_owned());
    }
    Ok(())
}
