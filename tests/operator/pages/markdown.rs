//! Parts of a page that tests use: code blocks and inline code, links and headings, and hidden comments.

use std::collections::{BTreeMap, BTreeSet};

/// Comments of a page that begin like this contain commands that the page's test runs at that place: simulated actions
/// in Lever and in CoderPad.
const BEHIND: &str = "<!-- behind the page:";

/// Step of a page's test, in the order of the page.
#[derive(Debug)]
pub enum Piece {
    Block(Block),
    /// Commands that readers do not see.
    Behind(String),
}

/// Fenced code block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Line of the page in which it begins, counted from 1.
    pub line: usize,
    pub language: String,
    /// Text without the indentation of the surrounding list.
    pub text: String,
    /// Indentation of the surrounding list.
    pub margin: usize,
}

/// Returns the blocks of a page and the hidden commands between them.
pub fn pieces(page: &str) -> Vec<Piece> {
    let (mut found, mut block, mut behind) = (Vec::new(), None::<Block>, None::<String>);
    for (number, line) in page.lines().enumerate() {
        if let Some(mut open) = block.take() {
            if line.trim() == "```" {
                found.push(Piece::Block(open));
                continue;
            }
            open.text.push_str(line.get(open.margin..).unwrap_or_default());
            open.text.push('\n');
            block = Some(open);
        } else if let Some(mut open) = behind.take() {
            if line.trim() == "-->" {
                found.push(Piece::Behind(open));
                continue;
            }
            open.push_str(line.trim());
            open.push('\n');
            behind = Some(open);
        } else if line.trim() == BEHIND {
            behind = Some(String::new());
        } else if let Some(language) = line.trim().strip_prefix("```") {
            let margin = line.len() - line.trim_start().len();
            let language = language.to_owned();
            block = Some(Block { line: number + 1, language, text: String::new(), margin });
        }
    }
    assert!(block.is_none() && behind.is_none(), "it ends in the middle of {block:?}{behind:?}");
    found
}

/// Returns the blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let block = |piece| match piece {
        Piece::Block(block) => Some(block),
        Piece::Behind(_) => None,
    };
    pieces(page).into_iter().filter_map(block).collect()
}

/// Returns the texts of a page's blocks in this language.
pub fn blocks_of(page: &str, language: &str) -> Vec<String> {
    blocks(page).into_iter().filter(|block| block.language == language).map(|block| block.text).collect()
}

/// Returns the commands of blocks, each on its own line.
pub fn commands(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut commands = Vec::<String>::new();
    let mut goes_on = false;
    for line in lines {
        let part = line.trim_end_matches('\\').trim_end();
        match commands.last_mut().filter(|_| goes_on) {
            Some(command) => command.extend([" ", part]),
            None => commands.push(part.to_owned()),
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

/// Returns the page without its blocks and comments, line by line.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let (mut in_block, mut in_comment) = (false, false);
    page.lines().filter(move |line| {
        let line = line.trim();
        let fence = line.starts_with("```");
        in_block ^= fence;
        in_comment |= line.starts_with("<!--") && !in_block;
        let seen = !fence && !in_block && !in_comment;
        in_comment &= !line.ends_with("-->");
        seen
    })
}

/// Returns the inline code of a page.
pub fn words(page: &str) -> Vec<String> {
    // Inline code may continue on the next line.
    let text = prose(page).map(str::trim).collect::<Vec<_>>().join(" ").replace("``", "");
    text.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
}

/// Returns the targets of the links and pictures of a page.
pub fn links(page: &str) -> Vec<String> {
    let text = prose(page).collect::<Vec<_>>().join("\n");
    // Code contains no links.
    let text = text.split('`').step_by(2).collect::<Vec<_>>().join("`");
    let inline = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let html = ["src=\"", "href=\""]
        .into_iter()
        .flat_map(|start| text.split(start).skip(1).filter_map(|rest| rest.split('"').next()));
    inline.chain(html).map(ToOwned::to_owned).collect()
}

/// Returns the anchors of a page, as GitHub and mdBook name them.
pub fn places(page: &str) -> BTreeSet<String> {
    let mut counts = BTreeMap::<String, usize>::new();
    let headings =
        prose(page).filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let names = headings.map(|heading| {
        let kept = heading.chars().filter(|one| one.is_alphanumeric() || " -_".contains(*one));
        let name: String = kept.map(|one| if one == ' ' { '-' } else { one }).collect();
        name.to_lowercase()
    });
    names
        .map(|name| {
            let count = counts.entry(name.clone()).or_default();
            *count += 1;
            if *count == 1 { name } else { format!("{name}-{}", *count - 1) }
        })
        .collect()
}

#[test]
fn page_is_parsed_as_it_is_rendered() {
    let page = "# A `first` pad\n\n- do [this](x.md#y):\n\n  ```sh\n  one \\\n    two\n  ```\n\n<!-- behind the page:\nthree\n-->\n\
                Say `kubectl\nget`, not `[a](b)`.\n\n## A first pad\n";
    let [Piece::Block(block), Piece::Behind(behind)] = &pieces(page)[..] else { panic!() };
    assert_eq!((block.language.as_str(), block.line, behind.as_str()), ("sh", 5, "three\n"));
    assert_eq!(commands(&block.text), ["one two"]);
    assert_eq!(words(page), ["first", "kubectl get", "[a](b)"]);
    assert_eq!(links(page), ["x.md#y"]);
    assert_eq!(places(page), ["a-first-pad", "a-first-pad-1"].map(str::to_owned).into());
}
