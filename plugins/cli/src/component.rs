//! Components as bytes: made of core modules, and taken apart to be shown.

use onhand_plugin_bundle::Kind;
use wasmparser::{KnownCustom, Name, Parser, Payload};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// Section of a core module that has its WIT world.
const WORLD_SECTION: &str = "component-type";

/// What a component is made of.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Sections of its core modules by name, with their bytes, in the order of the file.
    pub(crate) sections: Vec<(String, u64)>,
    /// Functions with their bytes of code, the largest first.
    pub(crate) functions: Vec<(String, u64)>,
}

impl Parts {
    /// Returns the bytes of the largest function.
    pub(crate) fn largest_function(&self) -> u64 {
        self.functions.first().map_or(0, |(_, bytes)| *bytes)
    }

    /// Takes a component, or a core module, apart.
    ///
    /// # Errors
    ///
    /// Returns where it is malformed.
    pub(crate) fn of(wasm: &[u8]) -> Result<Self, String> {
        let mut parts = Self::default();
        // Modules stand one after the other; each has its own numbers of functions.
        let mut module = 0;
        let (mut imported, mut bodies, mut names) = (0, Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload.map_err(|error| error.to_string())?;
            if let Payload::Version { encoding: wasmparser::Encoding::Module, .. } = payload {
                parts.take(module, imported, &mut bodies, &mut names);
                (module, imported) = (module + 1, 0);
            }
            match payload {
                Payload::ImportSection(section) => {
                    let imports = section.clone().into_imports();
                    for import in imports {
                        let import = import.map_err(|error| error.to_string())?;
                        imported += u32::from(matches!(import.ty, wasmparser::TypeRef::Func(_)));
                    }
                    parts.section("import", section.range().len());
                }
                Payload::TypeSection(section) => parts.section("type", section.range().len()),
                Payload::FunctionSection(s) => parts.section("function", s.range().len()),
                Payload::TableSection(section) => parts.section("table", section.range().len()),
                Payload::MemorySection(section) => parts.section("memory", section.range().len()),
                Payload::GlobalSection(section) => parts.section("global", section.range().len()),
                Payload::ExportSection(section) => parts.section("export", section.range().len()),
                Payload::ElementSection(s) => parts.section("element", s.range().len()),
                Payload::CodeSectionStart { size, .. } => parts.section("code", size as usize),
                Payload::DataSection(section) => parts.section("data", section.range().len()),
                Payload::CodeSectionEntry(body) => bodies.push(body.range().len() as u64),
                Payload::CustomSection(section) => {
                    let name = format!("custom {:?}", section.name());
                    parts.section(&name, section.data().len());
                    if let KnownCustom::Name(reader) = section.as_known() {
                        names.extend(function_names(reader));
                    }
                }
                _ => {}
            }
        }
        parts.take(module, imported, &mut bodies, &mut names);
        parts.functions.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(parts)
    }

    fn section(&mut self, name: &str, bytes: usize) {
        match self.sections.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += bytes as u64,
            None => self.sections.push((name.to_owned(), bytes as u64)),
        }
    }

    /// Takes over the functions of a module that has ended.
    fn take(
        &mut self,
        module: u32,
        imported: u32,
        bodies: &mut Vec<u64>,
        names: &mut Vec<(u32, String)>,
    ) {
        for (at, bytes) in bodies.drain(..).enumerate() {
            let number = imported + at as u32;
            let name = names.iter().find(|(known, _)| *known == number);
            let name = name.map_or_else(
                || format!("module {module}, function {number}"),
                |(_, name)| name.clone(),
            );
            self.functions.push((name, bytes));
        }
        names.clear();
    }
}

fn function_names(reader: wasmparser::NameSectionReader<'_>) -> Vec<(u32, String)> {
    let mut names = Vec::new();
    // Names are for people: what cannot be read is left out.
    for part in reader.into_iter().flatten() {
        if let Name::Function(map) = part {
            let plain = |name: &str| name.escape_debug().take(120).collect();
            names.extend(map.into_iter().flatten().map(|one| (one.index, plain(one.name))));
        }
    }
    names
}

/// Makes a component of a core module; one that is a component already is left as it is.
///
/// A module without a world of its own, such as one written by hand, gets the one of its kind.
///
/// # Errors
///
/// Returns why it does not fit the world.
pub(crate) fn componentize(wasm: Vec<u8>, kind: Kind) -> Result<Vec<u8>, String> {
    if Parser::is_component(&wasm) {
        return Ok(wasm);
    }
    let mut module = wasm;
    let has_world = Parser::new(0).parse_all(&module).flatten().any(|payload| match payload {
        Payload::CustomSection(section) => section.name().starts_with(WORLD_SECTION),
        _ => false,
    });
    let text = |error: &dyn std::fmt::Display| format!("{error:#}");
    if !has_world {
        let mut resolve = Resolve::default();
        let package =
            resolve.push_str(format!("{kind}.wit"), kind.wit()).map_err(|error| text(&error))?;
        let world =
            resolve.select_world(&[package], Some(kind.name())).map_err(|error| text(&error))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| text(&error))?;
    }
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| text(&error))
}
