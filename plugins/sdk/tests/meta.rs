//! The worlds as bytes are those of the WIT packages.

use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// The checked-in bytes are what `wit-component` makes of the released texts.
///
/// After a new release: run it with `ONHAND_REWRITE=1`, and look at what has changed.
#[test]
fn worlds_as_bytes_are_those_of_the_texts() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for kind in ["pricing", "fraud", "recommend"] {
        let mut resolve = Resolve::default();
        let text = here.join(format!("../wit/since_v1_0_0/{kind}.wit"));
        let package = resolve.push_file(&text).expect("a WIT package");
        let world = resolve.select_world(&[package], Some(kind)).expect("a world");
        let bytes = wit_component::metadata::encode(&resolve, world, StringEncoding::UTF8, None)
            .expect("a world as bytes");
        let file = here.join(format!("src/meta/{kind}.bin"));
        if std::env::var_os("ONHAND_REWRITE").is_some() {
            std::fs::write(&file, &bytes).expect("written");
        }
        let kept = std::fs::read(&file).expect("the bytes");
        assert!(kept == bytes, "{}: {} bytes, not {}", file.display(), kept.len(), bytes.len());
    }
}
