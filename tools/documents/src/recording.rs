//! Runs a command and draws its output as an animated picture: each line appears when the command printed it, at a
//! slower speed.
//!
//! The animation is a plain SVG with two stepwise animations: the text scrolls, and a curtain below the newest line
//! hides the later ones. Readers who prefer reduced motion, and programs that draw no animations, see the final state.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};

/// Number of visible lines.
const ROWS: usize = 30;
/// Number of characters of the widest line that is shown completely.
const COLUMNS: usize = 134;
const LINE_HEIGHT: f64 = 17.0;
const CHARACTER_WIDTH: f64 = 7.83;
const MARGIN: f64 = 14.0;
/// Factor by which the animation is slower than the run, so that people can read it.
const SLOWDOWN: f64 = 3.0;
/// Time that the final state is shown, in seconds.
const FINAL_STATE_SECONDS: f64 = 8.0;

/// Line and its time, in seconds after the start.
struct Line {
    at: f64,
    text: String,
}

/// Runs the command and returns its output as SVG.
pub(crate) fn record(shown: &str, command: &[String]) -> anyhow::Result<String> {
    let [program, arguments @ ..] = command else { anyhow::bail!("there is no command") };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| program.clone())?;
    let output = child.stdout.take().context("the command has no output")?;
    let start = Instant::now();
    let mut lines = vec![Line { at: 0.0, text: format!("$ {shown}") }];
    for text in BufReader::new(output).lines() {
        let text = text?;
        eprintln!("{text}");
        lines.push(Line { at: start.elapsed().as_secs_f64() * SLOWDOWN, text });
    }
    let status = child.wait()?;
    ensure!(status.success(), "{program} ended with {status}");
    draw(&lines)
}

fn draw(lines: &[Line]) -> anyhow::Result<String> {
    let too_wide: Vec<_> =
        lines.iter().map(|line| &line.text).filter(|text| text.chars().count() > COLUMNS).collect();
    ensure!(too_wide.is_empty(), "too wide for {COLUMNS} columns: {too_wide:?}");
    let columns = f64::from(u32::try_from(COLUMNS)?);
    let rows = f64::from(u32::try_from(ROWS)?);
    let (width, height) = (columns * CHARACTER_WIDTH + 2.0 * MARGIN, rows * LINE_HEIGHT + 2.0 * MARGIN);
    let duration = lines.last().map_or(0.0, |line| line.at) + FINAL_STATE_SECONDS;

    let (mut scroll, mut curtain, mut texts) = (String::new(), String::new(), String::new());
    for (number, line) in lines.iter().enumerate() {
        let shown = f64::from(u32::try_from(number)?) + 1.0;
        let at = line.at / duration * 100.0;
        let up = (shown - rows).max(0.0) * LINE_HEIGHT;
        writeln!(scroll, "{at:.2}% {{ transform: translateY(-{up}px) }}")?;
        writeln!(curtain, "{at:.2}% {{ transform: translateY({}px) }}", shown.min(rows) * LINE_HEIGHT)?;
        let y = MARGIN + shown * LINE_HEIGHT - 4.0;
        if !line.text.is_empty() {
            let class = if line.text.starts_with("$ ") { " class=\"typed\"" } else { "" };
            writeln!(texts, "<text x=\"{MARGIN}\" y=\"{y}\"{class}>{}</text>", escaped(&line.text))?;
        }
    }
    let count = f64::from(u32::try_from(lines.len())?);
    let end = (count - rows).max(0.0) * LINE_HEIGHT;
    let hidden = count.min(rows) * LINE_HEIGHT;
    writeln!(scroll, "100% {{ transform: translateY(-{end}px) }}")?;
    writeln!(curtain, "100% {{ transform: translateY({hidden}px) }}")?;
    Ok(format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">
<title>A recorded terminal session</title>
<style>
text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #d5dae1; white-space: pre }}
.typed {{ fill: #8fd18f; font-weight: bold }}
@media (prefers-reduced-motion: no-preference) {{
.scroll {{ animation: scroll {duration:.1}s steps(1) infinite }}
.curtain {{ animation: curtain {duration:.1}s steps(1) infinite }}
}}
@keyframes scroll {{
{scroll}}}
@keyframes curtain {{
{curtain}}}
</style>
<clipPath id="window"><rect x="0" y="{MARGIN}" width="{width}" height="{visible}"/></clipPath>
<rect width="{width}" height="{height}" rx="8" fill="#1c2128"/>
<g clip-path="url(#window)">
<g class="scroll" transform="translate(0 -{end})" xml:space="preserve">
{texts}</g>
<g class="curtain" transform="translate(0 {hidden})"><rect x="0" y="{MARGIN}" width="{width}" height="{visible}" fill="#1c2128"/></g>
</g>
</svg>
"##,
        visible = rows * LINE_HEIGHT,
    ))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_appear_when_printed_and_the_final_state_remains() {
        let picture = record("echo '<done>'", &["echo", "<done>"].map(str::to_owned)).unwrap();
        assert!(picture.contains(">$ echo '&lt;done&gt;'</text>"), "{picture}");
        assert!(picture.contains(">&lt;done&gt;</text>"), "{picture}");
        assert!(picture.contains("100% { transform: translateY(34px) }"), "{picture}");
        assert!(record("false", &["false".to_owned()]).is_err());
    }
}
