//! Bundles, keys and trust files as partners and hosts use them.

use onhand_plugin_bundle::{
    Answer, Bundle, BundleBuilder, BundleLimits, Facts, Fixture, KeyError, Kind, Language,
    Manifest, OnFailure, Part, SigningKey, Trust, TrustError,
};
use onhand_policy::decision::{Adjustment, Pick, Score};
use onhand_policy::fact::{FraudBatch, PricingBatch, RecommendBatch};

const MANIFEST: &str = r#"
id = "acme/tiers"
version = "1.2.0"
kind = "pricing"
wit = "onhand:pricing@1.0.0"
license = "Apache-2.0"
description = "buy more, pay less"
authors = ["Ann", "Ben"]
homepage = "https://acme.example"
on_failure = "fail_closed"
permissions = []

[limits]
fuel_per_order = 20_000
memory_bytes = 1_048_576

[config_schema]
type = "object"
required = ["percent"]
additionalProperties = false
properties.percent = { type = "integer", minimum = 1, maximum = 50 }

[reasons]
1 = "tier"
900 = "not for resale"

[build]
language = "rust"
command = "cargo build --release"
output = "target/wasm32-unknown-unknown/release/tiers.wasm"
"#;

fn limits() -> BundleLimits {
    BundleLimits::default()
}

fn bundle() -> Bundle {
    let part = |name: &str| Part { name: name.to_owned(), version: "1.0.0".to_owned() };
    let builder = BundleBuilder::new(MANIFEST, b"\0asm\x0d\0\x01\0".to_vec());
    let builder = builder.parts([part("serde"), part("onhand-plugin-sdk")]);
    builder.build(&limits()).expect("a bundle")
}

/// Every field of a manifest is read as written.
#[test]
fn manifests_are_read() {
    let manifest = Manifest::read(MANIFEST).expect("a manifest");
    assert_eq!((manifest.id.as_str(), manifest.version.as_str()), ("acme/tiers", "1.2.0"));
    assert_eq!(manifest.kind, Kind::Pricing);
    assert_eq!(manifest.on_failure, OnFailure::FailClosed);
    assert_eq!(manifest.authors, ["Ann", "Ben"]);
    assert_eq!(manifest.limit("fuel_per_order"), Some(20_000));
    assert_eq!(manifest.limit("deadline_ms"), None);
    assert_eq!(manifest.reasons[&900], "not for resale");
    let build = manifest.build.expect("a build");
    assert_eq!(build.language, Language::Rust);
    let schema = manifest.config_schema.expect("a schema");
    assert!(schema.check(&serde_json::json!({ "percent": 10 })).is_empty());
    assert_eq!(schema.check(&serde_json::json!({ "percent": 10.0 })), []);
    let faults = schema.check(&serde_json::json!({ "percnt": 10.5 }));
    let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            "config lacks its field \"percent\"",
            "config.percnt is not a field; did you mean \"percent\"?"
        ]
    );
}

/// Each mistake is told with its line, field, value and range, and the way out where there is one.
#[test]
fn mistakes_in_a_manifest_are_named() {
    for (from, to, said) in [
        (
            "version = ",
            "verison = ",
            "line 3, column 1: verison is not a field (did you mean `version`?)",
        ),
        (
            "\"1.2.0\"",
            "\"1.2\"",
            "line 3, column 11: version is \"1.2\", must be MAJOR.MINOR.PATCH, such as 1.4.0 or 1.4.0-rc.1",
        ),
        ("\"1.2.0\"", "1.2", "line 3, column 11: version is a fraction, and must be a text"),
        (
            "\"pricing\"",
            "\"prices\"",
            "line 4, column 8: kind is \"prices\", and must be one of pricing, fraud, recommend (did you mean \"pricing\"?)",
        ),
        (
            "onhand:pricing@1.0.0",
            "onhand:fraud@1.0.0",
            "line 5, column 7: wit is \"onhand:fraud@1.0.0\", no WIT package for pricing (write \"onhand:pricing@1.0.0\")",
        ),
        (
            "acme/tiers",
            "../tiers",
            "line 2, column 6: id is \"../tiers\", must be parts of a-z, 0-9, `.`, `_`, `-`, joined by `/`, each starting with a letter or a digit",
        ),
        (
            "fuel_per_order",
            "fuel_per_ordr",
            "line 14, column 1: limits.fuel_per_ordr is not a field (did you mean `fuel_per_order`?)",
        ),
        (
            "20_000",
            "999",
            "line 14, column 18: limits.fuel_per_order is 999, outside 1000..=10000000000 fuel",
        ),
        (
            "1_048_576",
            "268_435_457",
            "line 15, column 16: limits.memory_bytes is 268435457, outside 65536..=268435456 bytes",
        ),
        (
            "permissions = []",
            "permissions = [\"net\"]",
            "line 11, column 15: permissions has entries, and there is none to have: a plugin may log and no more",
        ),
        (
            "minimum = 1",
            "minimun = 1",
            "line 17, column 1: config_schema at config_schema.percent: keyword \"minimun\" is not known here; did you mean \"minimum\"?",
        ),
        ("900 =", "many =", "line 25, column 1: reasons.many is no number, outside 0..=4294967295"),
        (
            "\"rust\"",
            "\"rsut\"",
            "line 28, column 12: build.language is \"rsut\", and must be one of rust, ts, c, python, wat (did you mean \"rust\"?)",
        ),
        (
            "\"target/",
            "\"/target/",
            "line 30, column 10: build.output is \"/target/wasm32-unknown-unknown/release/tiers.wasm\", no path from the project's folder down",
        ),
        (
            "license = \"Apache-2.0\"",
            "",
            "line 1, column 1: license is missing (write for example `license = \"Apache-2.0\"`)",
        ),
    ] {
        let text = MANIFEST.replacen(from, to, 1);
        assert_ne!(text, MANIFEST, "{from}");
        let error = Manifest::read(&text).expect_err("a mistake").to_string();
        // A line left empty moves what follows, not the message.
        assert_eq!(error, said);
    }
}

/// The same parts are the same bytes, whatever their order, and another part changes them.
#[test]
fn the_same_parts_are_the_same_bytes() {
    let part = |name: &str| Part { name: name.to_owned(), version: "1.0.0".to_owned() };
    let builder = BundleBuilder::new(MANIFEST, b"\0asm\x0d\0\x01\0".to_vec());
    let again = builder.clone().parts([part("onhand-plugin-sdk"), part("serde"), part("serde")]);
    assert_eq!(again.build(&limits()).expect("a bundle").bytes(), bundle().bytes());
    let other = builder.build(&limits()).expect("a bundle");
    assert_ne!(other.hash(), bundle().hash());
    assert_eq!(other.wasm_hash(), bundle().wasm_hash());
}

/// What was built is read again, part by part.
#[test]
fn bundles_are_read_as_built() {
    let built = bundle();
    let read = Bundle::read(built.bytes(), &limits()).expect("a bundle");
    assert_eq!(read, built);
    assert_eq!(read.manifest_text(), MANIFEST);
    assert_eq!(read.wasm(), b"\0asm\x0d\0\x01\0");
    assert_eq!(read.wit(), Kind::Pricing.wit());
    assert!(read.sbom().contains("\"onhand-plugin-sdk\""));
}

/// Signing changes neither content nor hash; a key signs once, and each of several counts.
#[test]
fn signing_leaves_the_content() {
    let mut signed = bundle();
    let (ann, ben) = (SigningKey::from_seed([1; 32]), SigningKey::from_seed([2; 32]));
    for key in [&ann, &ben, &ann] {
        signed.sign(key, &limits()).expect("a signature");
    }
    let read = Bundle::read(signed.bytes(), &limits()).expect("a bundle");
    assert_eq!(read, signed);
    assert_eq!(read.signatures().len(), 2);
    assert_eq!(read.hash(), bundle().hash());
    for key in [ann, ben] {
        let trust = Trust::read(&format!("[signers.one]\nkey = \"{}\"\n", key.public()));
        assert_eq!(trust.expect("a file").check(&read, 0).expect("trusted").key, key.public());
    }
}

/// Eight signatures are taken and a ninth is not.
#[test]
fn signatures_have_their_count() {
    let mut signed = bundle();
    for seed in 0..8 {
        signed.sign(&SigningKey::from_seed([seed; 32]), &limits()).expect("a signature");
    }
    let ninth = signed.sign(&SigningKey::from_seed([8; 32]), &limits());
    let text = ninth.expect_err("a ninth").to_string();
    assert_eq!(text, "signature: it has 9 signatures, at most 8");
    Bundle::read(signed.bytes(), &limits()).expect("eight");
}

fn trust(more: &str) -> Trust {
    let key = SigningKey::from_seed([1; 32]).public();
    Trust::read(&format!("[signers.acme]\nkey = \"{key}\"\n{more}")).expect("a trust file")
}

/// A signature counts for what the trust file says, and until then.
#[test]
fn trust_is_for_plugins_kinds_and_a_time() {
    let mut signed = bundle();
    assert_eq!(trust("").check(&signed, 0), Err(TrustError::Unsigned));
    signed.sign(&SigningKey::from_seed([1; 32]), &limits()).expect("a signature");
    // 2027-01-01T00:00:00Z
    let end = 1_798_761_600_000;
    for (more, now, said) in [
        ("", 0, ""),
        ("plugins = [\"acme/tiers\"]", 0, ""),
        ("plugins = [\"other\", \"acme/*\"]", 0, ""),
        ("plugins = [\"acme\"]", 0, "acme may not sign acme/tiers, a pricing plugin"),
        ("plugins = [\"acm/*\"]", 0, "acme may not sign acme/tiers, a pricing plugin"),
        ("kinds = [\"fraud\", \"pricing\"]", 0, ""),
        ("kinds = [\"fraud\"]", 0, "acme may not sign acme/tiers, a pricing plugin"),
        ("expires = 2027-01-01T00:00:00Z", end - 1, ""),
        (
            "expires = 2027-01-01T00:00:00Z",
            end,
            "the key of acme ended at 1798761600000 ms since 1970-01-01 UTC",
        ),
    ] {
        let found = trust(more);
        let found = found.check(&signed, now).map_or_else(|e| e.to_string(), |_| String::new());
        assert_eq!(found, said, "{more} at {now}");
    }
    let other = Trust::read("").expect("an empty file");
    let text = other.check(&signed, 0).expect_err("nobody is trusted").to_string();
    assert!(text.starts_with("no key of the trust file has signed it; signed by "), "{text}");
}

/// A signature of one bundle is worth nothing on another, also beside a good one.
#[test]
fn a_signature_does_not_move() {
    let mut signed = bundle();
    signed.sign(&SigningKey::from_seed([1; 32]), &limits()).expect("a signature");
    let text = MANIFEST.replace("1.2.0", "1.2.1");
    let mut other = BundleBuilder::new(&text, b"\0asm\x0d\0\x01\0".to_vec())
        .build(&limits())
        .expect("a bundle");
    other.sign(&SigningKey::from_seed([1; 32]), &limits()).expect("a signature");
    let line = |bundle: &Bundle| {
        let text = String::from_utf8_lossy(bundle.bytes()).into_owned();
        text.lines().find(|line| line.len() == 145).expect("a signature").to_owned()
    };
    let (from, to) = (line(&signed), line(&other));
    let bytes = other.bytes().to_vec();
    let at = bytes.windows(to.len()).position(|part| part == to.as_bytes()).expect("its place");
    let mut moved = bytes;
    moved[at..at + from.len()].copy_from_slice(from.as_bytes());
    let moved = Bundle::read(&moved, &limits()).expect("well-formed");
    let forged = TrustError::Forged { signer: "acme".to_owned() };
    assert_eq!(trust("").check(&moved, 0), Err(forged));
    assert!(trust("").check(&other, 0).is_ok());
}

/// Trust files are read as strictly as manifests.
#[test]
fn mistakes_in_a_trust_file_are_named() {
    let key = SigningKey::from_seed([1; 32]).public();
    for (text, said) in [
        ("[signer.a]", "line 1, column 2: signer is not a field (did you mean `signers`?)"),
        (
            "[signers.a]\nkey = \"x\"",
            "line 2, column 7: signers.a.key is no public key: it is `ed25519:` and 64 hexadecimal digits",
        ),
        (
            "[signers.a]\nkey = \"KEY\"\nplugins = []",
            "line 3, column 11: signers.a.plugins is empty: leave it out to allow all",
        ),
        (
            "[signers.a]\nkey = \"KEY\"\nkinds = [\"price\"]",
            "line 3, column 10: signers.a.kinds[0] is \"price\", and must be one of pricing, fraud, recommend (did you mean \"pricing\"?)",
        ),
        (
            "[signers.a]\nkey = \"KEY\"\nexpires = 2027-01-01",
            "line 3, column 11: signers.a.expires must be a time of UTC, such as 2027-12-31T00:00:00Z",
        ),
        (
            "[signers.a]\nkey = \"KEY\"\n[signers.b]\nkey = \"KEY\"",
            "line 3, column 10: signers.b has the key of a",
        ),
        (
            "[signers.\"a b\"]\nkey = \"KEY\"",
            "line 1, column 10: signers.a b is no name: 1 to 64 of letters, digits, `.`, `_`, `-`",
        ),
    ] {
        let text = text.replace("KEY", &key.to_string());
        assert_eq!(Trust::read(&text).expect_err("a mistake").to_string(), said);
    }
    let weak = format!("[signers.a]\nkey = \"ed25519:01{}\"", "0".repeat(62));
    let text = Trust::read(&weak).expect_err("the point of order one").to_string();
    assert!(text.ends_with("a weak public key, which no signer has"), "{text}");
}

/// Key files are for their owner, are never overwritten, and hold the key that was made.
#[test]
fn key_files_are_kept_safe() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("acme.key");
    let key = SigningKey::generate().expect("randomness");
    let public = key.write_files(&path).expect("files");
    assert_eq!(SigningKey::read_file(&path).expect("a key").public(), key.public());
    let text = std::fs::read_to_string(&public).expect("a file");
    assert_eq!(text, format!("{}\n", key.public()));
    let again = SigningKey::generate().expect("randomness").write_files(&path);
    assert!(again.expect_err("there already").to_string().contains("is not overwritten"));
    assert_eq!(SigningKey::read_file(&path).expect("a key").public(), key.public());
    let shown = format!("{key:?}");
    assert!(shown.len() < 64, "no secret: {shown}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &std::path::Path| {
            std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
        };
        assert_eq!(mode(&path), 0o600);
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(&path, open).expect("a mode");
        let refused = SigningKey::read_file(&path);
        assert!(matches!(refused, Err(KeyError::Open { mode: 0o640, .. })), "{refused:?}");
    }
    std::fs::write(dir.path().join("other.pub"), "mine").expect("a file");
    assert!(key.write_files(&dir.path().join("other")).is_err());
    assert!(!dir.path().join("other").exists(), "no half of a pair is left");
}

fn facts() -> Vec<(&'static str, Answer)> {
    vec![
        (
            r#"{"kind":"pricing","id":"k1","about":"two","config":{"b":1,"a":[2]},"input":{
                "headers":[{"customer":18446744073709551615,"currency":978,"line-count":1,"coupon-count":1},
                    {"currency":978,"first-line":1,"line-count":1,"coupon-count":0}],
                "lines":[{"sku":7,"class":3,"location":2,"quantity":2,"unit":1000},{"sku":8,"quantity":1,"unit":5}],
                "coupons":[9]},"expect":{"$.orders[0].total":1800,"$.orders[1].refused":4}}"#,
            Answer::Pricing(vec![
                Adjustment { kind: 0, at: 0, amount: 200, code: 1 },
                Adjustment { kind: 2, at: 1, amount: 0, code: 4 },
            ]),
        ),
        (
            r#"{"kind":"fraud","input":{"headers":[{"currency":978,"customer-age-days":3}],
                "lines":[{"sku":7,"quantity":2,"unit":1000}]},"expect":{"$.scores[*].verdict":3}}"#,
            Answer::Fraud(vec![Score { points: 900, verdict: 3, code: 7 }]),
        ),
        (
            r#"{"kind":"recommend","input":{"requests":[{"limit":2}],
                "candidates":[{"sku":7,"available":1},{"sku":8,"popularity":0}]},
                "expect":{"shown":[{"request":0,"sku":7,"score":9}]}}"#,
            Answer::Recommend(vec![
                Pick { request: 0, sku: 7, score: 9 },
                Pick { request: 0, sku: 8, score: 9 },
            ]),
        ),
    ]
}

/// Fixtures are read, filled up, compared, and written so that reading them gives the same.
#[test]
fn fixtures_go_round() {
    for (text, answer) in facts() {
        let fixture = Fixture::read(text).expect("a fixture");
        let output = fixture.facts.output(&answer).expect("an answer");
        assert_eq!(fixture.mismatches(&output), [], "{output:#}");
        assert_eq!(Fixture::read(&fixture.text()).expect("its text"), fixture);
        assert_eq!(Fixture::read(&fixture.line()).expect("its line"), fixture);
        assert!(!fixture.line().contains('\n'));
        let recorded = Fixture::new(fixture.facts.clone()).expecting(&answer);
        assert_eq!(recorded.mismatches(&output), []);
        assert_eq!(Answer::from_said(answer.kind(), &recorded.expect), Some(answer.clone()));
        let empty = match answer {
            Answer::Pricing(_) => Answer::Pricing(Vec::new()),
            Answer::Fraud(_) => Answer::Fraud(vec![Score::default()]),
            Answer::Recommend(_) => Answer::Recommend(Vec::new()),
        };
        let other = fixture.facts.output(&empty).expect("an answer");
        assert_ne!(recorded.mismatches(&other), []);
    }
}

/// Facts of batches come back as the same batches, every field of them.
#[test]
fn facts_are_those_of_the_batch() {
    for (text, _) in facts() {
        let fixture = Fixture::read(text).expect("a fixture");
        let again = match &fixture.facts {
            Facts::Pricing { headers, lines, coupons } => {
                Facts::from(&PricingBatch::new(headers, lines, coupons).expect("a batch"))
            }
            Facts::Fraud { headers, lines } => {
                assert_eq!((headers[0].total, headers[0].units), (2_000, 2));
                assert_eq!(headers[0].distance_km, u32::MAX);
                Facts::from(&FraudBatch::new(headers, lines).expect("a batch"))
            }
            Facts::Recommend { requests, items, candidates } => {
                assert_eq!(candidates[0].popularity, u32::MAX);
                Facts::from(&RecommendBatch::new(requests, items, candidates).expect("a batch"))
            }
        };
        assert_eq!(again, fixture.facts);
    }
    assert_eq!(Fixture::read(facts()[0].0).expect("a fixture").config_text(), r#"{"a":[2],"b":1}"#);
    assert_eq!(Fixture::read(facts()[1].0).expect("a fixture").config_text(), "{}");
}

/// Each mistake in a fixture is told by field, value and range.
#[test]
fn mistakes_in_a_fixture_are_named() {
    let good = r#"{"kind":"pricing","input":{"headers":[{"currency":978}],"lines":[{"sku":1,"quantity":1,"unit":1}]}}"#;
    for (from, to, word) in [
        (
            "\"currency\"",
            "\"curency\"",
            "input: unknown field `curency`, expected one of `customer`",
        ),
        ("978", "1000", "input: currency of record 0 is 1000, outside 1..=999"),
        (
            "\"quantity\":1",
            "\"quantity\":0",
            "input: quantity of record 0 is 0, outside 1..=1000000000",
        ),
        (
            "[{\"currency\":978}]",
            "[{\"currency\":978},{\"currency\":978}]",
            "input: line-count is missing, which one order alone may leave out",
        ),
        (
            "\"kind\":\"pricing\"",
            "\"kind\":\"price\"",
            "unknown variant `price`, expected one of `pricing`, `fraud`, `recommend`",
        ),
        ("}]}}", "}]},\"expects\":{}}", "unknown field `expects`"),
        ("}]}}", "}]},\"expect\":{\"$..x\":1}}", "expect: \"$..x\" is no path"),
        ("\"unit\":1", "\"unit\":1.5", "input: invalid type: floating point"),
    ] {
        let text = good.replacen(from, to, 1);
        let error = Fixture::read(&text).expect_err("a mistake").to_string();
        assert!(error.starts_with(word), "{error}");
    }
}
