//! The JSON schema of scenario files, for editors.

use super::wire::File;

/// Names the schema in editors and catalogues.
const ID: &str = "https://example.invalid/onhand/scenario-1.json";

/// Returns the JSON schema (draft 2020-12) of a scenario file, with a line end.
pub fn schema_json() -> String {
    let mut schema = schemars::schema_for!(File);
    schema.insert("$id".to_owned(), ID.into());
    format!("{:#}\n", schema.as_value())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published schema is that of this build; `UPDATE_EXPECT=1` writes it.
    #[test]
    fn the_published_schema_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/scenario-1.json");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(path, schema_json()).expect("the schema can be written");
        }
        let published = std::fs::read_to_string(path).expect("the schema is published");
        let current = published == schema_json();
        assert!(current, "{path} is not that of this build; run again with UPDATE_EXPECT=1");
    }
}
