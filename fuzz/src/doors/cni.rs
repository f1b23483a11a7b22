//! Of the CNI plugin: the configuration on standard input.

#[path = "../../../src/net/cni/conf.rs"]
#[expect(dead_code, reason = "the file is taken whole")]
mod conf;
#[path = "../../../src/net/cni/error.rs"]
#[expect(dead_code, unreachable_pub, reason = "the file is taken whole")]
mod error;
#[path = "../../../src/net/cni/result.rs"]
#[expect(dead_code, reason = "the file is taken whole")]
mod result;

/// As the plugin has them.
const VERSIONS: [&str; 6] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.2.0"];

/// Reads and checks a configuration; whether the plugin would go on.
pub fn read(input: &[u8]) -> bool {
    match conf::NetConf::parse(input).and_then(conf::NetConf::validate) {
        Ok(conf) => conf.pod_cidr.contains(&conf.gateway()),
        Err(error) => {
            drop(error.to_json("1.1.0").to_string());
            false
        }
    }
}
