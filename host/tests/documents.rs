//! The documents say what the code does: codes, statuses, settings.

use onhand_host::PAGES;
use onhand_host::config::SETTINGS;

const HTTP_API: &str = include_str!("../../docs/HTTP_API.md");
const OPERATING: &str = include_str!("../../docs/OPERATING.md");

#[test]
fn every_problem_code_is_documented_with_its_status() {
    let (_, table) = HTTP_API.split_once("| status | codes |").expect("the table of codes");
    for page in PAGES {
        let code = format!("`{}`", page.code);
        let row = table.lines().find(|line| line.contains(&code));
        let row = row.unwrap_or_else(|| panic!("{code} is not documented"));
        let statuses = row.split('|').nth(1).expect("a first column");
        assert!(statuses.contains(&page.status.to_string()), "{code} is not in {row}");
    }
    for word in table.split('`').skip(1).step_by(2) {
        assert!(PAGES.iter().any(|page| page.code == word), "`{word}` is no problem code");
    }
}

#[test]
fn every_setting_is_documented_with_its_default() {
    for setting in SETTINGS {
        let default = match setting.default {
            "" => "empty".to_owned(),
            default => format!("`{default}`"),
        };
        let row = format!("| `{}` | {default} | {} |", setting.key, setting.help);
        assert!(OPERATING.contains(&row), "docs/OPERATING.md lacks {row}");
    }
}
