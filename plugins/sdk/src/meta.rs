//! The worlds as bytes, for whatever makes a component of a core module: `wit-component`'s own
//! encoding of `plugins/wit`, which a test makes anew and compares.

/// `onhand:pricing@1.0.0`.
pub const PRICING: &[u8] = include_bytes!("meta/pricing.bin");
/// `onhand:fraud@1.0.0`.
pub const FRAUD: &[u8] = include_bytes!("meta/fraud.bin");
/// `onhand:recommend@1.0.0`.
pub const RECOMMEND: &[u8] = include_bytes!("meta/recommend.bin");
