//! Looks at a component before anything is compiled: size, features, imports, exports, types.

use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncTypeId, ComponentItem, ComponentValType,
};
use wasmparser::types::{Types, TypesRef};
use wasmparser::{ComponentInstance, Encoding, Parser, Payload, Validator, WasmFeatures};

use crate::error::{LoadError, plain};
use crate::kind::{AbiVersion, Kind, LOG};
use crate::limits::{COMPONENT_INSTANCES, Limits, MEMORIES_PER_INSTANCE, PARTS, TEXT_BYTES};

/// Most bytes of a type as text; the types of our worlds have fewer.
const TYPE_TEXT_BYTES: usize = 2_048;
/// How deep types may be nested before their text ends.
const TYPE_DEPTH: u32 = 8;
/// Most interfaces that an error names.
const NAMED_MAX: usize = 8;

/// What a component is, as far as it shows without running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What it decides about.
    pub kind: Kind,
    /// Version of its interface.
    pub version: AbiVersion,
    /// Full name of its interface, such as `onhand:pricing/policy@1.0.0`.
    pub interface: String,
    /// Whether it imports `log`.
    pub logs: bool,
    /// Core modules in it.
    pub modules: u64,
    /// Functions in them.
    pub functions: u64,
    /// Bytes of code in them.
    pub code_bytes: u64,
    /// Largest memory that one of them starts with, in bytes.
    pub memory_bytes: u64,
}

/// Returns what WebAssembly a plugin may use: what gives the same answer everywhere.
///
/// No threads, no 64-bit memories, no garbage collection, no second memory, no relaxed SIMD.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::WASM2 | WasmFeatures::EXTENDED_CONST | WasmFeatures::COMPONENT_MODEL
}

/// Looks at a component of any kind.
///
/// # Errors
///
/// Returns what is wrong with it: too large, malformed, or not as the WIT packages say.
///
/// # Example
///
/// ```
/// use onhand_plugin_runtime::{Limits, LoadError, inspect};
///
/// let error = inspect(b"\0asm\x01\0\0\0", &Limits::default());
/// assert_eq!(error, Err(LoadError::CoreModule));
/// ```
pub fn inspect(wasm: &[u8], limits: &Limits) -> Result<Shape, LoadError> {
    at_most("size of the component in bytes", wasm.len() as u64, limits.module_bytes)?;
    let counts = count(wasm, limits)?;
    let types =
        Validator::new_with_features(features()).validate_all(wasm).map_err(|e| malformed(&e))?;
    let (mut logs, mut other) = (None, Vec::new());
    for name in &counts.imports {
        let known = Kind::interface(name);
        match known {
            Some((kind, "log", version)) if version.runs_here() => {
                check_log(&types, name)?;
                logs = Some((kind, name));
            }
            Some((_, "log", found)) => {
                return Err(LoadError::Version { interface: plain(name, TEXT_BYTES), found });
            }
            _ => return Err(LoadError::Import(plain(name, TEXT_BYTES))),
        }
    }
    let mut found = None;
    for name in &counts.exports {
        match Kind::interface(name) {
            Some((kind, "policy", version)) if found.is_none() => {
                found = Some((kind, version, name.clone()));
            }
            _ => other.push(plain(name, TEXT_BYTES)),
        }
    }
    let Some((kind, version, interface)) = found else {
        other.truncate(NAMED_MAX);
        return Err(LoadError::NoInterface { kind: None, found: other });
    };
    if !version.runs_here() {
        return Err(LoadError::Version { interface, found: version });
    }
    if let Some((_, name)) = logs.filter(|(of, _)| *of != kind) {
        return Err(LoadError::Import(plain(name, TEXT_BYTES)));
    }
    check_policy(&types, kind, &interface)?;
    let Counts { modules, functions, code_bytes, memory_bytes, .. } = counts;
    let logs = logs.is_some();
    Ok(Shape { kind, version, interface, logs, modules, functions, code_bytes, memory_bytes })
}

#[derive(Default)]
struct Counts {
    imports: Vec<String>,
    exports: Vec<String>,
    modules: u64,
    /// Components and modules.
    parts: u64,
    /// Instantiations of components.
    instances: u64,
    functions: u64,
    code_bytes: u64,
    memories: u64,
    memory_bytes: u64,
}

fn at_most(what: &'static str, value: u64, max: u64) -> Result<(), LoadError> {
    if value <= max { Ok(()) } else { Err(LoadError::TooLarge { what, value, max }) }
}

fn malformed(error: &wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Malformed { offset: error.offset(), why: plain(error.message(), TEXT_BYTES) }
}

/// Walks over the sections once, without looking into function bodies.
fn count(wasm: &[u8], limits: &Limits) -> Result<Counts, LoadError> {
    let mut counts = Counts::default();
    let mut depth = 0_u32;
    let mut outermost = true;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(|e| malformed(&e))? {
            Payload::Version { encoding, .. } => {
                if outermost && encoding == Encoding::Module {
                    return Err(LoadError::CoreModule);
                }
                outermost = false;
                depth += 1;
                counts.parts += 1;
                at_most("number of components and modules", counts.parts, PARTS)?;
                counts.modules += u64::from(encoding == Encoding::Module);
            }
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    let name = import.map_err(|e| malformed(&e))?.name.name;
                    counts.imports.push(name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    let name = export.map_err(|e| malformed(&e))?.name.name;
                    counts.exports.push(name.to_owned());
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section {
                    let instance = instance.map_err(|e| malformed(&e))?;
                    let unfolds = matches!(instance, ComponentInstance::Instantiate { .. });
                    counts.instances += u64::from(unfolds);
                }
                at_most("number of component instances", counts.instances, COMPONENT_INSTANCES)?;
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let pages = memory.map_err(|e| malformed(&e))?.initial;
                    let bytes = pages.saturating_mul(64 << 10);
                    counts.memories += 1;
                    counts.memory_bytes = counts.memory_bytes.max(bytes);
                }
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len() as u64;
                at_most("size of a function in bytes", bytes, limits.function_bytes)?;
                counts.functions += 1;
                counts.code_bytes += bytes;
            }
            _ => {}
        }
        at_most("number of functions", counts.functions, limits.functions)?;
    }
    at_most("number of memories", counts.memories, MEMORIES_PER_INSTANCE.into())?;
    at_most("memory at the start in bytes", counts.memory_bytes, limits.memory_bytes)?;
    Ok(counts)
}

fn functions_of<'a>(
    types: &'a TypesRef<'a>,
    item: Option<&'a ComponentItem>,
) -> Vec<(&'a str, ComponentFuncTypeId)> {
    let Some(ComponentEntityType::Instance(id)) = item.map(|item| item.ty) else {
        return Vec::new();
    };
    let function = |(name, item): (&'a String, &'a ComponentItem)| match item.ty {
        ComponentEntityType::Func(id) => Some((name.as_str(), id)),
        _ => None,
    };
    types[id].exports.iter().filter_map(function).collect()
}

fn check_log(types: &Types, name: &str) -> Result<(), LoadError> {
    let types = types.as_ref();
    for (function, id) in functions_of(&types, types.component_item_for_import(name)) {
        if function != "log" {
            let name = format!("{function} of {name}");
            return Err(LoadError::Import(plain(&name, TEXT_BYTES)));
        }
        let found = function_text(types, id);
        if found != LOG {
            return Err(LoadError::Signature { function: "log", found, wanted: LOG });
        }
    }
    Ok(())
}

fn check_policy(types: &Types, kind: Kind, interface: &str) -> Result<(), LoadError> {
    let types = types.as_ref();
    let there = functions_of(&types, types.component_item_for_export(interface));
    for (function, wanted) in kind.exports() {
        let Some((_, id)) = there.iter().find(|(name, _)| *name == function) else {
            return Err(LoadError::MissingFunction { function });
        };
        let found = function_text(types, *id);
        if found != wanted {
            return Err(LoadError::Signature { function, found, wanted });
        }
    }
    Ok(())
}

/// Writes a function's type as WIT, with records spelled out.
fn function_text(types: TypesRef<'_>, id: ComponentFuncTypeId) -> String {
    let function = &types[id];
    let mut text = String::from(if function.async_ { "async func(" } else { "func(" });
    for (at, (name, ty)) in function.params.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { ", " });
        text.push_str(name.as_str());
        text.push_str(": ");
        write_type(types, *ty, 0, &mut text);
    }
    text.push(')');
    if let Some(ty) = function.result {
        text.push_str(" -> ");
        write_type(types, ty, 0, &mut text);
    }
    plain(&text, TYPE_TEXT_BYTES)
}

fn write_type(types: TypesRef<'_>, ty: ComponentValType, depth: u32, text: &mut String) {
    if depth > TYPE_DEPTH || text.len() > TYPE_TEXT_BYTES {
        text.push_str("...");
        return;
    }
    let id = match ty {
        ComponentValType::Primitive(primitive) => {
            text.push_str(&primitive.to_string());
            return;
        }
        ComponentValType::Type(id) => id,
    };
    match &types[id] {
        ComponentDefinedType::Primitive(primitive) => text.push_str(&primitive.to_string()),
        ComponentDefinedType::List { element, .. } => {
            text.push_str("list<");
            write_type(types, *element, depth + 1, text);
            text.push('>');
        }
        ComponentDefinedType::Record(record) => {
            text.push_str("record {");
            for (at, (name, ty)) in record.fields.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                text.push_str(name.as_str());
                text.push_str(": ");
                write_type(types, *ty, depth + 1, text);
            }
            text.push('}');
        }
        ComponentDefinedType::Result { ok, err, .. } => {
            text.push_str("result<");
            for (at, side) in [ok, err].into_iter().enumerate() {
                text.push_str(if at == 0 { "" } else { ", " });
                match side {
                    Some(ty) => write_type(types, *ty, depth + 1, text),
                    None => text.push('_'),
                }
            }
            text.push('>');
        }
        // None of these is in a world of ours, so that naming them is enough.
        ComponentDefinedType::Option { .. } => text.push_str("option"),
        ComponentDefinedType::Tuple(_) => text.push_str("tuple"),
        ComponentDefinedType::Variant(_) => text.push_str("variant"),
        ComponentDefinedType::Enum(_) => text.push_str("enum"),
        ComponentDefinedType::Flags(_) => text.push_str("flags"),
        _ => text.push_str("another type"),
    }
}
