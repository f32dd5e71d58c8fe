//! Columns of text.

use super::printer::Printer;

/// Lines in which the columns stand below each other, two spaces apart.
pub(super) fn lines<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths);
        let padded: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        padded.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Prints rows below a heading; or that there are none.
pub(super) fn print<const N: usize>(heading: [&str; N], rows: &[[String; N]], printer: &Printer) {
    if rows.is_empty() {
        return printer.note("there are none");
    }
    let heading = heading.map(str::to_owned);
    let all: Vec<_> = std::iter::once(heading)
        .chain(rows.iter().cloned())
        .collect();
    for line in lines(&all) {
        printer.line(line);
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn columns_stand_below_each_other_whatever_their_letters() {
        let rows = [["é", "one"], ["longer", "→"]].map(|row| row.map(str::to_owned));
        assert_eq!(lines(&rows), ["é       one", "longer  →"]);
    }
}
