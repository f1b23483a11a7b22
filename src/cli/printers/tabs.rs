//! Elastic columns as Go's text/tabwriter lays them out: a column is a run of neighbouring lines that have a tab there.

/// Replaces the tabs of `text`. A cell is as wide as the widest of its column plus `padding`, at least `minimum`.
pub(crate) fn align(text: &str, minimum: usize, padding: usize) -> String {
    let ends_open = !text.ends_with('\n');
    let rows: Vec<Vec<&str>> =
        text.strip_suffix('\n').unwrap_or(text).split('\n').map(|line| line.split('\t').collect()).collect();
    let mut widths: Vec<Vec<usize>> = rows.iter().map(|row| vec![0; row.len().saturating_sub(1)]).collect();
    let columns = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..columns {
        let mut start = 0;
        while start < rows.len() {
            if widths[start].len() <= column {
                start += 1;
                continue;
            }
            let end = (start..rows.len()).find(|row| widths[*row].len() <= column).unwrap_or(rows.len());
            let widest = rows[start..end].iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
            let width = (widest + padding).max(minimum);
            for row in &mut widths[start..end] {
                row[column] = width;
            }
            start = end;
        }
    }
    let mut aligned = String::new();
    for (row, widths) in rows.iter().zip(&widths) {
        for (index, cell) in row.iter().enumerate() {
            aligned.push_str(cell);
            if let Some(width) = widths.get(index) {
                aligned.extend(std::iter::repeat_n(' ', width.saturating_sub(cell.chars().count())));
            }
        }
        aligned.push('\n');
    }
    if ends_open {
        aligned.pop();
    }
    aligned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_blocks_of_neighbouring_lines() {
        assert_eq!(
            align("Name:\tx\nNamespace:\ty\nplain\nA:\tb\n", 0, 2),
            "Name:       x\nNamespace:  y\nplain\nA:  b\n"
        );
        assert_eq!(align("NAME\tA\tB\nlonger-name\t1\t2\n", 6, 3), "NAME          A     B\nlonger-name   1     2\n");
    }
}
