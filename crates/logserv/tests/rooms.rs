//! Who may import whom, held against what cargo knows.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Every crate of the house, and whom of the house it may import. ARCHITECTURE.md says why.
const ROOMS: [(&str, &[&str]); 8] = [
    ("logserv-wire", &[]),
    ("logserv-format", &["logserv-wire"]),
    ("logserv-ring", &[]),
    ("logserv-disk", &[]),
    ("logserv-client", &["logserv-wire", "logserv-ring"]),
    (
        "logserv-server",
        &["logserv-wire", "logserv-format", "logserv-ring", "logserv-disk"],
    ),
    (
        "logserv-py",
        &["logserv-client", "logserv-format", "logserv-wire"],
    ),
    ("logserv", &["logserv-client", "logserv-server"]),
];

/// Tools that no room imports; they may import any.
const OUTSIDE: [&str; 2] = ["logserv-bench", "logserv-fuzz"];

#[test]
fn every_room_imports_only_whom_it_may() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--no-deps",
            "--offline",
            "--manifest-path",
            manifest,
        ])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let imports: BTreeSet<&str> = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            // What tests import crosses no door.
            .filter(|dependency| dependency["kind"].as_str() != Some("dev"))
            .map(|dependency| dependency["name"].as_str().unwrap())
            .filter(|name| name.starts_with("logserv"))
            .collect();
        found.insert(package["name"].as_str().unwrap(), imports);
    }
    for (room, allowed) in ROOMS {
        let imports = found.remove(room).unwrap_or_else(|| panic!("{room} is gone"));
        let strangers: Vec<_> = imports.iter().filter(|name| !allowed.contains(name)).collect();
        assert!(strangers.is_empty(), "{room} may not import {strangers:?}");
        for outside in OUTSIDE {
            assert!(!imports.contains(outside), "{room} imports {outside}");
        }
    }
    found.retain(|name, _| !OUTSIDE.contains(name));
    assert!(found.is_empty(), "rooms without a rule: {found:?}");
}
