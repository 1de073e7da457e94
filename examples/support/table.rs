//! Tables in a terminal.

/// How a column's cells stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// A table whose columns are as wide as their widest cell, with a rule below its head.
pub fn table(head: &[(&str, Side)], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        let title = head.get(column).map_or(0, |(title, _)| title.chars().count());
        cells.chain([title]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut out = String::from("  ");
        for ((cell, (_, side)), width) in cells.into_iter().zip(head).zip(&widths) {
            let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
            out += &match side {
                Side::Left => format!("{cell}{pad}  "),
                Side::Right => format!("{pad}{cell}  "),
            };
        }
        out.trim_end().to_owned() + "\n"
    };
    let mut out = line(head.iter().map(|(title, _)| *title).collect());
    out += &format!("  {}\n", "─".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)));
    rows.iter().for_each(|row| out += &line(row.iter().map(String::as_str).collect()));
    out
}
