//! Plugins that misbehave, by the rows of the list of abuses: what each does when the victim
//! orders, and how that ends. Used by the tests and by the bench that measures everybody else.

/// How an order ends for which a plugin misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The plugin fails, by the name of the failure; its failure policy decides.
    Fails(&'static str),
    /// The plugin is told no, goes on with what it has, and decides.
    GoesOn,
}

/// One misdeed while running.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deed {
    /// Row of the list of abuses.
    pub(crate) row: u32,
    /// What it does, in words.
    pub(crate) name: &'static str,
    /// What it does when the victim orders, as WebAssembly text.
    pub(crate) text: &'static str,
    /// Further functions, tables and data of its module.
    pub(crate) more: &'static str,
    /// Lines of its manifest's limits that it needs to get so far.
    pub(crate) limits: &'static str,
    /// How it ends.
    pub(crate) end: End,
}

const fn deed(row: u32, name: &'static str, text: &'static str, end: &'static str) -> Deed {
    Deed { row, name, text, more: "", limits: "", end: End::Fails(end) }
}

/// Every misdeed of an active plugin; the customer that it is done to is [`VICTIM`].
pub(crate) const DEEDS: &[Deed] = &[
    deed(22, "endless loop", "(loop $for_ever (br $for_ever))", "fuel"),
    Deed {
        limits: "fuel_per_order = 10_000_000_000\ndeadline_ms = 2_000",
        ..deed(22, "endless loop with fuel to spare", "(loop $on (br $on))", "deadline")
    },
    Deed {
        end: End::GoesOn,
        ..deed(
            23,
            "memory bomb",
            "(loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))",
            "",
        )
    },
    deed(
        23,
        "memory at once",
        "(if (i32.eq (i32.const -1) (memory.grow (i32.const 65535))) (then unreachable))",
        "trap",
    ),
    Deed {
        more: "(table $bomb 0 funcref)",
        end: End::GoesOn,
        ..deed(
            23,
            "table bomb",
            "(loop $more (br_if $more (i32.ne (i32.const -1)
                (table.grow $bomb (ref.null func) (i32.const 1000)))))",
            "",
        )
    },
    Deed {
        more: "(func $deep (param i64) (result i64)
            (i64.add (local.get 0) (call $deep (i64.add (local.get 0) (i64.const 1)))))",
        limits: "fuel_per_order = 10_000_000",
        ..deed(24, "deep recursion", "(drop (call $deep (i64.const 0)))", "stack")
    },
    deed(25, "answer outside its memory", "(return (i32.const 0xfffffff0))", "output"),
    deed(
        25,
        "answer without end",
        "(return (call $answer (i32.const 0) (i32.const 0x20000000)))",
        "output",
    ),
    deed(
        25,
        "answer longer than its limit",
        "(return (call $answer (i32.const 0) (i32.const 20000)))",
        "output",
    ),
    deed(
        25,
        "unknown action",
        "(i32.store (i32.const 64) (i32.const 4))
        (return (call $answer (i32.const 64) (i32.const 1)))",
        "answer",
    ),
    deed(
        25,
        "negative discount",
        "(i64.store (i32.const 72) (i64.const -1))
        (return (call $answer (i32.const 64) (i32.const 1)))",
        "answer",
    ),
    deed(
        25,
        "discount above the price",
        "(i64.store (i32.const 72) (i64.const 10001))
        (return (call $answer (i32.const 64) (i32.const 1)))",
        "answer",
    ),
    deed(
        25,
        "line of nobody",
        "(i32.store (i32.const 68) (i32.const -1))
        (return (call $answer (i32.const 64) (i32.const 1)))",
        "answer",
    ),
    Deed {
        more: "(data (i32.const 64) \"\\ff\")",
        ..deed(
            25,
            "log that is no text",
            "(call $log (i32.const 0) (i32.const 64) (i32.const 1))",
            "output",
        )
    },
    deed(26, "trap", "unreachable", "trap"),
    deed(26, "division by zero", "(drop (i32.div_s (i32.const 1) (i32.const 0)))", "trap"),
    deed(26, "read outside its memory", "(drop (i32.load (i32.const -4)))", "trap"),
    Deed {
        limits: "fuel_per_order = 100_000_000",
        ..deed(
            27,
            "storm of host calls",
            "(loop $more (call $log (i32.const 0) (i32.const 1024) (i32.const 1)) (br $more))",
            "host_calls",
        )
    },
    deed(
        27,
        "storm of host calls on little fuel",
        "(loop $more (call $log (i32.const 0) (i32.const 1024) (i32.const 1)) (br $more))",
        "fuel",
    ),
];

/// Name of the customer to whom it is done.
pub(crate) const VICTIM: &str = "victim";

/// What no host may take as a plugin.
#[derive(Clone, Debug)]
pub(crate) struct Upload {
    /// Row of the list of abuses.
    pub(crate) row: u32,
    /// What it is, in words.
    pub(crate) name: &'static str,
    /// The bytes of its component.
    pub(crate) wasm: Vec<u8>,
    /// Lines of its manifest's limits.
    pub(crate) limits: &'static str,
    /// What the refusal says.
    pub(crate) said: &'static str,
}

/// Every component that is refused at its upload; `good` is the text of one that is not.
///
/// # Panics
///
/// If a text is no WebAssembly: a mistake in this list.
pub(crate) fn uploads(good: &str) -> Vec<Upload> {
    let parse = |text: &str| wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let upload = |row, name, wasm, said| Upload { row, name, wasm, limits: "", said };
    let with = |more: &str| {
        let mark = "(func (export \"init\")";
        assert!(good.contains(mark), "the module has an init");
        parse(&good.replacen(mark, &format!("{more}\n{mark}"), 1))
    };
    let import =
        |import: &str| parse(&good.replacen("(component", &format!("(component {import}"), 1));
    let mut padded = parse(good);
    // A custom section of 3 MiB that holds nothing.
    let size = 3_u32 << 20;
    padded.push(0);
    for shift in [0, 7, 14, 21] {
        let more = if shift == 21 { 0 } else { 0x80 };
        padded.push((size >> shift) as u8 & 0x7F | more);
    }
    padded.resize(padded.len() + size as usize, 0);
    let step = |number: i32| format!("i32.const {number} i32.xor ");
    let steps = |count: i32| (0..count).map(step).collect::<String>();
    let long = |name: &str, count: i32| {
        format!("(func (export \"{name}\") (param i32) (result i32) local.get 0 {})", steps(count))
    };
    let nest: Vec<String> = (1..=40)
        .map(|at| {
            let start = "(instance (instantiate $inner))";
            format!(
                "(component $c{at} (alias outer 1 $c{} (component $inner)) {start} {start})",
                at - 1
            )
        })
        .collect();
    let nest = nest.concat();
    let cut = parse(good);
    vec![
        upload(23, "component of 3 MiB", padded, "size of the component"),
        upload(23, "100,000 functions", with(&"(func)".repeat(100_000)), "number of functions"),
        upload(23, "one long function", with(&long("long", 60_000)), "size of a function"),
        Upload {
            limits: "compile_ms = 1",
            ..upload(23, "code that takes long to compile", with(&long("slow", 20_000)), "compil")
        },
        upload(
            23,
            "memory of 1 GiB at the start",
            parse(&good.replacen(
                "(memory (export \"memory\") 3)",
                "(memory (export \"memory\") 16384)",
                1,
            )),
            "memory at the start",
        ),
        upload(23, "table of 1,000,000 at the start", with("(table 1000000 funcref)"), "table"),
        upload(
            23,
            "data outside its memory",
            with("(data (i32.const 0x7fffffff) \"x\")"),
            "memory",
        ),
        upload(
            23,
            "2^40 instances in 5 KB",
            import(&format!("(component $c0) {nest} (instance (instantiate $c40))")),
            "number of component instances",
        ),
        upload(26, "nothing", Vec::new(), "unexpected end"),
        upload(26, "text", b"hello, world".to_vec(), "magic"),
        upload(26, "half a component", cut[..cut.len() / 2].to_vec(), "unexpected end"),
        upload(26, "core module", parse("(module)"), "component"),
        upload(26, "no interface", parse("(component)"), "does not export onhand:"),
        upload(
            26,
            "missing function",
            parse(&good.replacen("\"price-batch\"", "\"price-all\"", 1)),
            "price-batch",
        ),
        upload(
            26,
            "another type",
            parse(&good.replace("(field \"unit\" s64)", "(field \"unit\" u64)")),
            "unit: u64",
        ),
        upload(
            26,
            "files and clocks",
            import("(import \"wasi:cli/environment@0.2.0\" (instance))"),
            "wasi:cli",
        ),
        upload(26, "endless start", with("(func $s (loop $on (br $on))) (start $s)"), "fuel"),
        upload(
            26,
            "trap at the first order",
            parse(&good.replace("(i64.const 666)) (then ", "(i64.const 0)) (then unreachable ")),
            "unreachable",
        ),
        upload(
            28,
            "relaxed vectors",
            with(
                "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
            ),
            "relaxed SIMD",
        ),
        upload(
            28,
            "threads",
            with("(func (param i32) (drop (i32.atomic.rmw.add (local.get 0) (i32.const 1))))"),
            "threads",
        ),
        upload(
            28,
            "a source of chance",
            import("(import \"random\" (func (result u64)))"),
            "random",
        ),
    ]
}
