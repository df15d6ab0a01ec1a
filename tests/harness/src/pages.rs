//! The Markdown pages of a source tree, as GitHub shows them: their headings, their links, and the blocks of code in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// One page.
#[derive(Debug, Default)]
pub struct Page {
    /// Where it is, from the root of the tree.
    pub path: PathBuf,
    /// What a link to a heading of it may name behind the `#`.
    pub anchors: BTreeSet<String>,
    /// In the order in which they stand there.
    pub links: Vec<Link>,
    /// The fenced ones, in the same order.
    pub blocks: Vec<Block>,
}

/// A link.
#[derive(Debug)]
pub struct Link {
    /// What one sees.
    pub text: String,
    /// Where it leads, as it is written.
    pub target: String,
    /// Where it stands.
    pub line: usize,
}

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The word behind the fence, `sh` or `yaml`. Empty when there is none.
    pub language: String,
    /// What stands in it.
    pub text: String,
    /// Where it begins.
    pub line: usize,
    /// The anchor of the last heading before it.
    pub section: String,
}

/// Every page of the tree under `root`, in the order of their paths. What is built or hidden is left out.
pub fn all(root: &Path) -> Result<Vec<Page>> {
    let mut paths = Vec::new();
    collect(root, Path::new(""), &mut paths)?;
    paths.sort();
    paths.iter().map(|path| read(root, path)).collect()
}

fn collect(root: &Path, folder: &Path, paths: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder)).with_context(|| format!("reading the folder {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        let (path, name) = (folder.join(&name), name.to_string_lossy());
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(root, &path, paths)?;
        } else if name.ends_with(".md") {
            paths.push(path);
        }
    }
    Ok(())
}

/// The page at this path from the root of the tree.
pub fn read(root: &Path, path: &Path) -> Result<Page> {
    let text = fs::read_to_string(root.join(path)).with_context(|| format!("reading {}", path.display()))?;
    Ok(Page { path: path.to_owned(), ..parse(&text) })
}

/// What is in a text.
fn parse(text: &str) -> Page {
    let mut page = Page::default();
    let mut section = String::new();
    let mut heading: Option<String> = None;
    let mut link: Option<Link> = None;
    let mut block: Option<Block> = None;
    let line = |at: usize| text[..at].matches('\n').count() + 1;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => section = page.anchor(&heading.take().unwrap_or_default()),
            Event::Start(Tag::Link { dest_url, .. }) => {
                link = Some(Link { text: String::new(), target: dest_url.into_string(), line: line(range.start) });
            }
            Event::End(TagEnd::Link) => page.links.extend(link.take()),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                let (language, text) = (language.into_string(), String::new());
                block = Some(Block { language, text, line: line(range.start), section: section.clone() });
            }
            Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
            Event::Text(words) | Event::Code(words) => {
                let texts = [heading.as_mut(), link.as_mut().map(|link| &mut link.text), block.as_mut().map(|block| &mut block.text)];
                texts.into_iter().flatten().for_each(|text| text.push_str(&words));
            }
            _ => {}
        }
    }
    page
}

impl Page {
    /// By GitHub's rules: small letters, hyphens for spaces, no other punctuation, and a number behind what is there already.
    fn anchor(&mut self, heading: &str) -> String {
        let mut slug = heading.trim().to_lowercase().replace(' ', "-");
        slug.retain(|letter| letter.is_alphanumeric() || matches!(letter, '-' | '_'));
        let anchor = if self.anchors.contains(&slug) {
            let free = (1..).map(|number| format!("{slug}-{number}")).find(|anchor| !self.anchors.contains(anchor));
            free.unwrap_or_else(|| unreachable!("there is always another number"))
        } else {
            slug
        };
        self.anchors.insert(anchor.clone());
        anchor
    }

    /// The file or folder that a link of this page leads to, from the root of the tree, and the heading in it. `None` for one that leads
    /// out of the tree.
    pub fn follow(&self, link: &Link) -> Option<(PathBuf, Option<String>)> {
        let (path, anchor) = match link.target.split_once('#') {
            Some((path, anchor)) => (path, Some(anchor.to_owned())),
            None => (link.target.as_str(), None),
        };
        if path.is_empty() {
            return Some((self.path.clone(), anchor));
        }
        let mut followed = self.path.parent().map(Path::to_owned).unwrap_or_default();
        for component in Path::new(path).components() {
            match component {
                Component::Normal(name) => followed.push(name),
                Component::CurDir => {}
                Component::ParentDir => followed.pop().then_some(())?,
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        Some((followed, anchor))
    }
}

impl Link {
    /// It leads to another site.
    pub fn is_external(&self) -> bool {
        ["https://", "http://", "mailto:"].iter().any(|scheme| self.target.starts_with(scheme))
    }
}

impl Block {
    /// The YAML in it: the block itself, or what a shell command in it has on its standard input.
    pub fn manifests(&self) -> Vec<String> {
        match self.language.as_str() {
            "yaml" => vec![self.text.clone()],
            "sh" => here_documents(&self.text),
            _ => Vec::new(),
        }
    }
}

/// What stands between each `<<'EOF'` and its `EOF`.
fn here_documents(commands: &str) -> Vec<String> {
    let mut documents = Vec::new();
    let mut lines = commands.lines();
    while let Some(line) = lines.next() {
        if line.contains("<<'EOF'") {
            documents.push(lines.by_ref().take_while(|line| *line != "EOF").map(|line| format!("{line}\n")).collect());
        }
    }
    documents
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# The `a_b` of C, D\n\n[one](x.md#two) and `[no](link)`\n\n## Do\n\n```sh\ncat <<'EOF'\na: 1\nEOF\n[no](link)\n```\n\n## Do\n\n| a |\n|---|\n| [two **words**](../y) |\n\n```yaml\nb: 2\n```\n";

    #[test]
    fn headings_links_and_blocks_are_found_and_code_is_no_link() {
        let page = parse(TEXT);
        assert_eq!(page.anchors.iter().map(String::as_str).collect::<Vec<_>>(), ["do", "do-1", "the-a_b-of-c-d"]);
        let links: Vec<_> = page.links.iter().map(|link| (link.text.as_str(), link.target.as_str(), link.line)).collect();
        assert_eq!(links, [("one", "x.md#two", 3), ("two words", "../y", 18)]);
        let blocks: Vec<_> = page.blocks.iter().map(|block| (block.language.as_str(), block.section.as_str(), block.line)).collect();
        assert_eq!(blocks, [("sh", "do", 7), ("yaml", "do-1", 20)]);
        let manifests: Vec<String> = page.blocks.iter().flat_map(Block::manifests).collect();
        assert_eq!(manifests, ["a: 1\n", "b: 2\n"]);
    }

    #[test]
    fn a_link_is_followed_from_the_folder_of_its_page_and_not_out_of_the_tree() {
        let page = Page { path: PathBuf::from("docs/a.md"), ..Page::default() };
        let follow = |target: &str| page.follow(&Link { text: String::new(), target: target.to_owned(), line: 1 });
        assert_eq!(follow("b.md"), Some((PathBuf::from("docs/b.md"), None)));
        assert_eq!(follow("../README.md#use"), Some((PathBuf::from("README.md"), Some("use".to_owned()))));
        assert_eq!(follow("#here"), Some((PathBuf::from("docs/a.md"), Some("here".to_owned()))));
        assert_eq!((follow("../../x.md"), follow("/x.md")), (None, None));
    }
}
