//! Of the command line: templates of `-o jsonpath` and `-o custom-columns`.

#[path = "../../../src/cli/printers/jsonpath.rs"]
#[expect(dead_code, reason = "the file is taken whole")]
mod jsonpath;

use serde_json::Value;

/// Reads a template both ways, and prints an object by it.
pub fn print(template: &str, object: &Value) {
    for template in [jsonpath::Template::parse(template), jsonpath::Template::relaxed(template)].into_iter().flatten() {
        let _ = template.render(object);
    }
}
