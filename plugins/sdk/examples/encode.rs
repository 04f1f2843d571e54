//! Makes a component of a core module that has the section `component-type`, as every SDK's has:
//! `encode core.wasm plugin.wasm`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: encode core.wasm plugin.wasm");
        return ExitCode::from(2);
    };
    let made = std::fs::read(from).map_err(|error| error.to_string()).and_then(|core| {
        let encoder = wit_component::ComponentEncoder::default().validate(true);
        encoder.module(&core).and_then(|mut e| e.encode()).map_err(|error| format!("{error:#}"))
    });
    match made.and_then(|bytes| std::fs::write(to, bytes).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{from}: {error}");
            ExitCode::FAILURE
        }
    }
}
