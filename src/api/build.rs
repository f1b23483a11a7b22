//! Makes the schemas of the built-in kinds.
#[path = "build/roots.rs"]
mod roots;

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    let out = env::var("OUT_DIR")?;
    let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    roots::visit(&mut generator);
    let definitions = generator.take_definitions(true);
    fs::write(Path::new(&out).join("raw.json"), serde_json::to_vec(&definitions)?)?;
    Ok(())
}
