//! Columns of text.

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

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn columns_stand_below_each_other_whatever_their_letters() {
        let rows = [["é", "one"], ["longer", "→"]].map(|row| row.map(str::to_owned));
        assert_eq!(lines(&rows), ["é       one", "longer  →"]);
    }
}
