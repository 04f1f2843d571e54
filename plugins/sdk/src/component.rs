//! The component around a plugin: the canonical ABI of the three worlds, for `wasm32`.
//!
//! Written by hand instead of generated: the worlds have flat records alone, whose layout is that
//! of `repr(C)`, so that a batch is read where the host has written it. The macro's code is
//! `unsafe` and stands in the plugin's crate; this crate has none.

use std::mem::{offset_of, size_of};

use crate::{fraud, pricing, recommend};

/// Bytes of room for the facts of a call: 256 orders of three lines take 37 KiB. A larger batch
/// goes through the allocator.
#[doc(hidden)]
pub const ROOM_BYTES: usize = 64 << 10;
/// Entries of room for an answer.
#[doc(hidden)]
pub const ANSWER_ENTRIES: usize = 512;

// The layout of the canonical ABI, for every record.
const _: () = assert!(size_of::<pricing::Header>() == 48);
const _: () = assert!(offset_of!(pricing::Header, now) == 16);
const _: () = assert!(offset_of!(pricing::Header, coupon_count) == 40);
const _: () = assert!(size_of::<pricing::Line>() == 32);
const _: () = assert!(offset_of!(pricing::Line, unit) == 24);
const _: () = assert!(size_of::<pricing::Adjustment>() == 24);
const _: () = assert!(offset_of!(pricing::Adjustment, code) == 16);
const _: () = assert!(size_of::<fraud::Header>() == 104);
const _: () = assert!(offset_of!(fraud::Header, total) == 40);
const _: () = assert!(offset_of!(fraud::Header, customer_amount_day) == 72);
const _: () = assert!(offset_of!(fraud::Header, line_count) == 100);
const _: () = assert!(size_of::<fraud::Line>() == 24);
const _: () = assert!(size_of::<fraud::Score>() == 12);
const _: () = assert!(size_of::<recommend::Header>() == 40);
const _: () = assert!(size_of::<recommend::Candidate>() == 32);
const _: () = assert!(offset_of!(recommend::Candidate, available) == 24);
const _: () = assert!(size_of::<recommend::Pick>() == 24);
const _: () = assert!(offset_of!(recommend::Pick, score) == 16);

/// Makes a component of a type: `export!(pricing: Type)`, `export!(fraud: Type)` or
/// `export!(recommend: Type)`, once in a crate of type `cdylib`.
///
/// On other targets than `wasm32` it checks that the type fits and makes nothing. A panic of the
/// plugin is logged with its place, as level [`ERROR`](crate::log::ERROR), before it traps.
#[macro_export]
macro_rules! export {
    (pricing: $plugin:ty) => {
        $crate::__component! {
            $plugin, $crate::pricing::Pricing, $crate::pricing::batch, $crate::meta::PRICING,
            "component-type:onhand:pricing@1.0.0",
            "onhand:pricing/log@1.0.0",
            "onhand:pricing/policy@1.0.0#init",
            "onhand:pricing/policy@1.0.0#price-batch",
            "cabi_post_onhand:pricing/policy@1.0.0#price-batch",
            [a a_len $crate::pricing::Header, b b_len $crate::pricing::Line, c c_len u64],
            $crate::pricing::Adjustment
        }
    };
    (fraud: $plugin:ty) => {
        $crate::__component! {
            $plugin, $crate::fraud::Fraud, $crate::fraud::batch, $crate::meta::FRAUD,
            "component-type:onhand:fraud@1.0.0",
            "onhand:fraud/log@1.0.0",
            "onhand:fraud/policy@1.0.0#init",
            "onhand:fraud/policy@1.0.0#score-batch",
            "cabi_post_onhand:fraud/policy@1.0.0#score-batch",
            [a a_len $crate::fraud::Header, b b_len $crate::fraud::Line],
            $crate::fraud::Score
        }
    };
    (recommend: $plugin:ty) => {
        $crate::__component! {
            $plugin, $crate::recommend::Recommend, $crate::recommend::batch,
            $crate::meta::RECOMMEND,
            "component-type:onhand:recommend@1.0.0",
            "onhand:recommend/log@1.0.0",
            "onhand:recommend/policy@1.0.0#init",
            "onhand:recommend/policy@1.0.0#recommend-batch",
            "cabi_post_onhand:recommend/policy@1.0.0#recommend-batch",
            [a a_len $crate::recommend::Header, b b_len u64,
                c c_len $crate::recommend::Candidate],
            $crate::recommend::Pick
        }
    };
}

/// The functions that the canonical ABI wants, around one plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __component {
    (
        $plugin:ty, $kind:path, $batch:path, $meta:path,
        $section:literal, $log:literal, $init:literal, $decide:literal, $post:literal,
        [$($list:ident $count:ident $record:ty),+], $answer:ty
    ) => {
        const _: () = {
            const fn fits<T: $kind>() {}
            fits::<$plugin>();
        };

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            use ::core::cell::{OnceCell, RefCell};
            use ::std::alloc::Layout;
            use ::std::vec::Vec;

            /// Tells whoever makes the component which world this is.
            #[unsafe(link_section = $section)]
            #[used]
            static META: [u8; $meta.len()] = {
                let mut bytes = [0; $meta.len()];
                bytes.copy_from_slice($meta);
                bytes
            };

            #[link(wasm_import_module = $log)]
            unsafe extern "C" {
                #[link_name = "log"]
                fn host_log(level: u32, text: *const u8, bytes: usize);
            }

            fn log(level: u32, text: &str) {
                // SAFETY: the host reads `text` during the call and keeps nothing of it.
                unsafe { host_log(level, text.as_ptr(), text.len()) }
            }

            ::std::thread_local! {
                static PLUGIN: OnceCell<$plugin> = const { OnceCell::new() };
                static ANSWER: RefCell<Vec<$answer>> = const { RefCell::new(Vec::new()) };
            }

            /// Room for the facts of one call, used from the front and given back as a whole.
            static mut ROOM: [u64; $crate::__ROOM_BYTES / 8] = [0; $crate::__ROOM_BYTES / 8];
            /// Bytes of it in use.
            static mut USED: usize = 0;
            /// Where the results of functions stand.
            static mut RESULT: [usize; 3] = [0; 3];

            /// Makes room for what the host hands in; a component has one thread.
            #[unsafe(export_name = "cabi_realloc")]
            unsafe extern "C" fn realloc(
                old: *mut u8,
                old_bytes: usize,
                align: usize,
                bytes: usize,
            ) -> *mut u8 {
                // SAFETY: `ROOM` and `USED` are touched by one thread, here and in `forget` alone;
                // an offset is at most the size of `ROOM`; `old` is a place that was given out for
                // `old_bytes`, and what is given out now does not overlap with it.
                unsafe {
                    let first = (USED + align - 1) & !(align - 1);
                    let new = if bytes <= $crate::__ROOM_BYTES.saturating_sub(first) {
                        USED = first + bytes;
                        (&raw mut ROOM).cast::<u8>().add(first)
                    } else {
                        let Ok(layout) = Layout::from_size_align(bytes, align) else {
                            ::core::panic!("no room for {bytes} bytes");
                        };
                        let new = ::std::alloc::alloc(layout);
                        ::core::assert!(!new.is_null(), "no room for {bytes} bytes");
                        new
                    };
                    if old_bytes != 0 {
                        ::core::ptr::copy_nonoverlapping(old, new, old_bytes.min(bytes));
                        give_back(old, old_bytes, align);
                    }
                    new
                }
            }

            /// Gives back what came from the allocator.
            unsafe fn give_back(place: *mut u8, bytes: usize, align: usize) {
                let room = (&raw const ROOM).cast::<u8>() as usize;
                let inside = (room..room + $crate::__ROOM_BYTES).contains(&(place as usize));
                if bytes != 0 && !inside {
                    // SAFETY: what is not in `ROOM` came from `alloc` with this layout.
                    unsafe {
                        let layout = Layout::from_size_align_unchecked(bytes, align);
                        ::std::alloc::dealloc(place, layout);
                    }
                }
            }

            /// Returns a list that the host has handed in.
            unsafe fn list<'a, T>(place: *const T, count: usize) -> &'a [T] {
                if count == 0 {
                    return &[];
                }
                // SAFETY: the host has written `count` records to a place that `realloc` gave it,
                // aligned for them; nobody writes there until the call ends.
                unsafe { ::core::slice::from_raw_parts(place, count) }
            }

            #[unsafe(export_name = $init)]
            unsafe extern "C" fn init(text: *mut u8, bytes: usize) -> *const usize {
                $crate::log::set_host(log);
                ::std::panic::set_hook(::std::boxed::Box::new(|panic| {
                    $crate::log!(ERROR, "{panic}");
                }));
                // SAFETY: as `list`; `RESULT` is touched by one thread.
                unsafe {
                    let config = ::core::str::from_utf8(list(text, bytes)).unwrap_or("?");
                    let made = <$plugin as $kind>::new(config);
                    let error = match made {
                        ::core::result::Result::Ok(plugin) => {
                            let first = PLUGIN.with(|place| place.set(plugin).is_ok());
                            ::core::assert!(first, "init is called once");
                            ANSWER.with_borrow_mut(|answer| {
                                answer.reserve_exact($crate::__ANSWER_ENTRIES);
                            });
                            ""
                        }
                        ::core::result::Result::Err(error) => error.leak(),
                    };
                    give_back(text, bytes, 1);
                    USED = 0;
                    RESULT =
                        [usize::from(!error.is_empty()), error.as_ptr() as usize, error.len()];
                    (&raw const RESULT).cast()
                }
            }

            #[unsafe(export_name = $decide)]
            unsafe extern "C" fn decide($($list: *mut $record, $count: usize),+) -> *const usize {
                // SAFETY: as `list`; the facts are given back when nobody looks at them any more;
                // `RESULT` is touched by one thread.
                unsafe {
                    let (place, entries) = PLUGIN.with(|plugin| {
                        let plugin = plugin.get().expect("init comes first");
                        ANSWER.with_borrow_mut(|answer| {
                            answer.clear();
                            $batch(plugin, $(list($list, $count)),+, answer);
                            (answer.as_ptr() as usize, answer.len())
                        })
                    });
                    $(
                        let bytes = $count * ::core::mem::size_of::<$record>();
                        give_back($list.cast(), bytes, ::core::mem::align_of::<$record>());
                    )+
                    USED = 0;
                    RESULT = [place, entries, 0];
                    (&raw const RESULT).cast()
                }
            }

            /// Takes an answer back after the host has read it: a large one is not kept, so that
            /// the next call takes the same fuel as on a fresh instance.
            #[unsafe(export_name = $post)]
            extern "C" fn post(_: usize) {
                ANSWER.with_borrow_mut(|answer| {
                    if answer.capacity() > $crate::__ANSWER_ENTRIES {
                        *answer = Vec::with_capacity($crate::__ANSWER_ENTRIES);
                    }
                });
            }
        };
    };
}
