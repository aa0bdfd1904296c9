//! A QR code in half blocks: two modules per character cell.

use qrcode::{Color, EcLevel, QrCode};

/// Modules of white around the code that scanners need.
const QUIET: usize = 2;

/// Renders a text, dark on light; `None` if it is too long for a QR.
pub fn half_blocks(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let width = code.width();
    let colors = code.to_colors();
    let dark = |x: usize, y: usize| {
        let (x, y) = (x.checked_sub(QUIET), y.checked_sub(QUIET));
        matches!((x, y), (Some(x), Some(y)) if x < width && y < width
            && colors[y * width + x] == Color::Dark)
    };
    let size = width + 2 * QUIET;
    let line = |y: usize| {
        (0..size)
            .map(|x| match (dark(x, y), dark(x, y + 1)) {
                (false, false) => '█',
                (false, true) => '▀',
                (true, false) => '▄',
                (true, true) => ' ',
            })
            .collect()
    };
    Some((0..size).step_by(2).map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_fits_an_ordinary_terminal() {
        let link = format!("http://192.168.178.100:8787/#p={}", "x".repeat(22 + 43 + 22 + 2));

        let lines = half_blocks(&link).expect("short enough");

        assert!(lines.len() <= 30, "{} lines", lines.len());
        assert!(lines.iter().all(|l| l.chars().count() == lines[0].chars().count()));
    }
}
