//! The desk against a real engine and real small components, from the outside.

mod abuse;
mod basket;
mod common;
mod life;
mod quote;
mod recommend;
mod shadow;
#[path = "../../../runtime/tests/common/mod.rs"]
mod text;
