//! Makes the schemas of the built-in kinds: generated from k8s-openapi's types, completed by our tables, and written twice:
//! `schemas.gz` is what requests are checked with, `openapi.gz` is what clients may download. Each has one definition a line, so
//! that nobody needs to hold all of them: its name, the kinds it describes (`group/version/Kind`, joined by commas), its JSON.

#[path = "build/metrics.rs"]
mod metrics;
#[path = "build/overlay.rs"]
mod overlay;
#[path = "build/roots.rs"]
mod roots;
#[path = "build/tidy.rs"]
mod tidy;

use std::{env, error::Error, fs, io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};

const TABLES: [&str; 2] = ["schema/overlay.txt", "schema/defaults.txt"];

fn main() -> Result<(), Box<dyn Error>> {
    for input in ["build.rs", "build"].iter().chain(&TABLES) {
        println!("cargo::rerun-if-changed={input}");
    }
    let mut generator = schemars::generate::SchemaSettings::openapi3().into_generator();
    roots::visit(&mut generator);
    let mut definitions = generator.take_definitions(true);
    definitions.extend(metrics::definitions());
    tidy::references(&mut definitions);
    tidy::special_types(&mut definitions);
    overlay::overlay(&mut definitions, &fs::read_to_string(TABLES[0])?)?;
    overlay::defaults(&mut definitions, &fs::read_to_string(TABLES[1])?)?;
    tidy::also_as(&mut definitions, "io.k8s.api.autoscaling.v2.", "io.k8s.api.autoscaling.v2beta2.");

    let out = env::var("OUT_DIR")?;
    let write = |name: &str, definitions: &overlay::Definitions| -> Result<(), Box<dyn Error>> {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        for (name, definition) in definitions {
            writeln!(gzip, "{name}\t{}\t{definition}", tidy::kinds_of(definition))?;
        }
        Ok(fs::write(Path::new(&out).join(name), gzip.finish()?)?)
    };
    write("openapi.gz", &tidy::for_clients(definitions.clone()))?;
    write("schemas.gz", &tidy::for_requests(definitions))
}
