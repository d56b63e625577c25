//! The allocator's figures as a scraper reads them.

use pymalloc::observe;
use std::collections::HashMap;

#[global_allocator]
static GLOBAL: pymalloc::PyMalloc = pymalloc::PyMalloc;

/// Reads the text by OpenMetrics' rules; the values by name and labels.
fn parsed(text: &str) -> HashMap<String, u64> {
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    let mut values = HashMap::new();
    let mut family = "";
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a kind");
            assert_eq!(kinds.insert(name, kind), None, "{name} twice");
            family = name;
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect("a unit");
            assert!(
                name == family && name.ends_with(&format!("_{unit}")),
                "{line}"
            );
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(family), "{line}");
        } else {
            let (name, value) = line.split_once(' ').expect("a value");
            let bare = name.split('{').next().expect("a name");
            let expected = match kinds[family] {
                "counter" => format!("{family}_total"),
                _ => family.to_owned(),
            };
            assert_eq!(bare, expected, "{line}");
            let value = value.parse().expect("a number");
            assert_eq!(values.insert(name.to_owned(), value), None, "{name} twice");
        }
    }
    values
}

fn scraped() -> HashMap<String, u64> {
    let mut text = String::new();
    observe::write_open_metrics(&mut text).expect("written");
    parsed(&text)
}

#[test]
fn the_figures_follow_the_program() {
    let before = scraped();
    let blocks: Vec<Box<[u8; 1000]>> = (0..5000).map(|n| Box::new([n as u8; 1000])).collect();
    let large = vec![1u8; 8 << 20];
    let with = scraped();
    let grew = |name: &str| with[name] - before[name];
    assert!(grew("pymalloc_block_bytes") >= 5_000_000 + (8 << 20));
    assert!(grew("pymalloc_huge_bytes") >= 8 << 20);
    assert!(grew("pymalloc_resident_bytes") >= 12 << 20);
    assert!(with["pymalloc_mapped_bytes"] <= with["pymalloc_mapped_peak_bytes"]);
    let class = with
        .iter()
        .filter(|(name, _)| name.starts_with("pymalloc_class_blocks{"));
    assert!(
        class
            .map(|(_, value)| value)
            .max()
            .is_some_and(|most| *most >= 5000)
    );
    assert!(with["pymalloc_active_bytes"] >= with["pymalloc_block_bytes"]);
    let known = with["pymalloc_active_bytes"] + with["pymalloc_retained_bytes"];
    assert!(known <= with["pymalloc_mapped_bytes"]);
    assert!(with["pymalloc_metadata_bytes"] > 100_000);
    let heaps = with
        .iter()
        .filter(|(name, _)| name.starts_with("pymalloc_heap_block_bytes{"));
    let in_heaps: u64 = heaps.map(|(_, value)| value).sum();
    assert!(in_heaps + with["pymalloc_huge_bytes"] >= with["pymalloc_block_bytes"] - 100_000);
    drop((blocks, large));
    let after = scraped();
    assert!(after["pymalloc_huge_bytes"] + (8 << 20) <= with["pymalloc_huge_bytes"]);
}
