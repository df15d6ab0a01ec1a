//! The pages of the tree lead to what is there, and all of them can be found from the first one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use revoiceit_harness::pages::{self, Link, Page};

use crate::table::is_test;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> BTreeMap<PathBuf, Page> {
    let pages = pages::all(root()).expect("the pages can be read");
    pages.into_iter().map(|page| (page.path.clone(), page)).collect()
}

/// What is wrong about a link, if anything is.
fn fault(pages: &BTreeMap<PathBuf, Page>, page: &Page, link: &Link) -> Option<String> {
    let Some((path, anchor)) = page.follow(link) else { return Some("leads out of the tree".to_owned()) };
    if !root().join(&path).exists() {
        return Some(format!("there is no {}", path.display()));
    }
    if let Some(anchor) = anchor {
        let Some(page) = pages.get(&path) else { return Some(format!("{} is no page with headings", path.display())) };
        return (!page.anchors.contains(&anchor)).then(|| format!("{} has no heading #{anchor}", path.display()));
    }
    // A test that is named: its name is a link to its file.
    let is_name = link.text.contains('_') && link.text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    if path.extension().is_some_and(|ending| ending == "rs") && is_name {
        let source = std::fs::read_to_string(root().join(&path)).unwrap_or_default();
        return (!is_test(&source, &link.text)).then(|| format!("there is no test of this name in {}", path.display()));
    }
    None
}

#[test]
fn every_link_leads_to_what_is_there() {
    let pages = pages();
    let mut faults = Vec::new();
    let mut followed = 0;
    for page in pages.values() {
        for link in page.links.iter().filter(|link| !link.is_external()) {
            followed += 1;
            if let Some(fault) = fault(&pages, page, link) {
                faults.push(format!("{}:{}: [{}]({}): {fault}", page.path.display(), link.line, link.text, link.target));
            }
        }
    }
    assert!(faults.is_empty(), "{} links lead nowhere:\n{}", faults.len(), faults.join("\n"));
    assert!(followed > 200, "only {followed} links were found");
}

#[test]
fn every_page_of_docs_can_be_found_from_the_readme() {
    let pages = pages();
    let mut found = BTreeSet::new();
    let mut new = vec![PathBuf::from("README.md")];
    while let Some(path) = new.pop() {
        let Some(page) = pages.get(&path).filter(|_| found.insert(path.clone())) else { continue };
        new.extend(page.links.iter().filter(|link| !link.is_external()).filter_map(|link| Some(page.follow(link)?.0)));
    }
    let lost: Vec<_> = pages.keys().filter(|path| path.starts_with("docs") && !found.contains(*path)).collect();
    assert!(lost.is_empty(), "no link leads to {lost:?}");
    assert!(found.len() > 10, "{found:?}");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let pages = pages();
    let page = &pages[Path::new("docs/install.md")];
    let wrong = |text: &str, target: &str| {
        let link = Link { text: text.to_owned(), target: target.to_owned(), line: 1 };
        fault(&pages, page, &link)
    };
    assert_eq!(wrong("a page", "uninstall.md#with-helm"), None);
    assert_eq!(wrong("every_link_leads_to_what_is_there", "../tests/generated/links.rs"), None);
    let faults = [
        wrong("a page", "uninstal.md"),
        wrong("a heading", "uninstall.md#with-healm"),
        wrong("a heading of this page", "#heml"),
        wrong("a heading where there are none", "../LICENSE#terms"),
        wrong("every_link_leads", "../tests/generated/links.rs"),
        wrong("out of the tree", "../../other.md"),
    ];
    assert!(faults.iter().all(Option::is_some), "{faults:?}");
}
