//! Colours that can be told apart, by colour-blind readers too, on a light page, a dark one and paper.

use std::fmt::Write as _;

/// Sets of lines at most that a drawing can tell apart.
pub const SERIES: usize = 6;

/// Lines on a light page: near the hues of Okabe and Ito (2008), moved by search until the tests below hold.
const LIGHT: [&str; SERIES] = ["#007abb", "#c54b00", "#227557", "#af498f", "#6b4a00", "#4d4e4e"];
/// The same on a dark page.
const DARK: [&str; SERIES] = ["#43bef7", "#f08a3c", "#46b68c", "#e59ac7", "#e6c730", "#cdccca"];

const LIGHT_PAGE: &str = "#ffffff";
const DARK_PAGE: &str = "#15181c";

/// The custom properties that the style sheet and the drawings use.
pub(super) fn css() -> String {
    let set = |colours: &[&str; SERIES]| {
        let mut text = String::new();
        for (number, colour) in colours.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(text, "--c{number}:{colour};");
        }
        text
    };
    let light = format!(
        "--page:{LIGHT_PAGE};--ink:#1b1f24;--soft:#57606a;--rule:#d0d7de;--mark:#fff0b3;--heat:0,90,160;{}",
        set(&LIGHT)
    );
    let dark = format!(
        "--page:{DARK_PAGE};--ink:#e6e9ed;--soft:#a3abb5;--rule:#3a4149;--mark:#5c4a00;--heat:90,180,240;{}",
        set(&DARK)
    );
    format!(":root{{{light}}}\n@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rgb = [f64; 3];

    /// Linear light, 0 to 1.
    fn linear(colour: &str) -> Rgb {
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        [part(1), part(3), part(5)]
    }

    fn luminance([r, g, b]: Rgb) -> f64 {
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// WCAG 2's contrast ratio.
    fn contrast(a: &str, b: &str) -> f64 {
        let (a, b) = (luminance(linear(a)), luminance(linear(b)));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// Machado, Oliveira and Fernandes (2009), severity 1: full protanopia, deuteranopia, tritanopia; and sight as it is.
    const SIGHTS: [[Rgb; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    ];

    fn seen(sight: &[Rgb; 3], colour: &str) -> Rgb {
        let light = linear(colour);
        sight.map(|row| row.iter().zip(light).map(|(weight, light)| weight * light).sum::<f64>().clamp(0.0, 1.0))
    }

    /// Oklab (Ottosson 2020), in which distances are about even.
    fn oklab([r, g, b]: Rgb) -> Rgb {
        let l = (0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b).cbrt();
        let m = (0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b).cbrt();
        let s = (0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b).cbrt();
        [
            0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
            1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
            0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s,
        ]
    }

    fn distance(a: Rgb, b: Rgb) -> f64 {
        oklab(a).iter().zip(oklab(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    #[test]
    fn lines_stand_out_from_the_page() {
        for (colours, page) in [(LIGHT, LIGHT_PAGE), (DARK, DARK_PAGE)] {
            for colour in colours {
                assert!(contrast(colour, page) >= 4.5, "{colour} on {page}: {:.2}", contrast(colour, page));
            }
        }
    }

    /// 0.07 in Oklab is more than three just noticeable differences; dash and marker differ besides.
    #[test]
    fn lines_differ_in_every_kind_of_sight() {
        for colours in [LIGHT, DARK] {
            for (kind, sight) in SIGHTS.iter().enumerate() {
                for (number, a) in colours.iter().enumerate() {
                    for b in &colours[number + 1..] {
                        let apart = distance(seen(sight, a), seen(sight, b));
                        assert!(apart >= 0.07, "{a} and {b} in sight {kind}: {apart:.3}");
                    }
                }
            }
        }
    }
}
