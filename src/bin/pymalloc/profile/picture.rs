//! Which kind of file a picture is: SVG, a page with one, or, with the feature `png`, an image.
//!
//! Pictures are made as SVG, once; the others are made of that.

use crate::failure::Failure;
use std::path::Path;

/// What a file is, by its name's ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `.svg`.
    Svg,
    /// `.png`.
    Png,
    /// `.html`, `.htm`, or no ending.
    Page,
}

/// What `path` is to be.
///
/// # Errors
/// No picture has that ending, or this launcher cannot make it.
pub fn kind(path: &Path) -> Result<Kind, Failure> {
    let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
    match ending.as_ref().map(|ending| ending.to_str()) {
        None | Some(Some("html" | "htm")) => Ok(Kind::Page),
        Some(Some("svg")) => Ok(Kind::Svg),
        Some(Some("png")) if cfg!(feature = "png") => Ok(Kind::Png),
        Some(Some("png")) => Err(Failure::NoPng(path.to_owned())),
        _ => Err(Failure::NoSuchPicture(path.to_owned())),
    }
}

/// A drawn picture as a file of its kind: `page` makes a page of it.
///
/// # Errors
/// It is too large for an image.
pub fn file(
    kind: Kind,
    svg: String,
    page: impl FnOnce(&str) -> String,
) -> Result<Vec<u8>, Failure> {
    match kind {
        Kind::Svg => Ok(svg.into_bytes()),
        Kind::Page => Ok(page(&svg).into_bytes()),
        Kind::Png => image::png(&svg),
    }
}

#[cfg(feature = "png")]
mod image {
    use super::Failure;
    use resvg::tiny_skia::{Pixmap, Transform};
    use resvg::usvg::{Options, Tree};
    use std::io;

    /// Most pixels of an image that is drawn at twice its size, for screens with small ones.
    const MOST_AT_TWICE: f32 = 32e6;

    /// The picture as PNG. Letters come from fonts in this launcher: it looks the same everywhere.
    ///
    /// # Errors
    /// It is too large.
    pub fn png(svg: &str) -> Result<Vec<u8>, Failure> {
        let mut options = Options::default();
        let fonts = options.fontdb_mut();
        fonts.load_font_data(epaint_default_fonts::UBUNTU_LIGHT.to_vec());
        fonts.load_font_data(epaint_default_fonts::HACK_REGULAR.to_vec());
        for set in [
            fontdb::Database::set_sans_serif_family,
            fontdb::Database::set_serif_family,
        ] {
            set(fonts, "Ubuntu");
        }
        fonts.set_monospace_family("Hack");
        let failed = |error: String| Failure::NothingToDraw(io::Error::other(error));
        let tree = Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
        let size = tree.size();
        let at_twice = 4.0 * size.width() * size.height();
        let scale = if at_twice <= MOST_AT_TWICE { 2.0 } else { 1.0 };
        let [width, height] = [size.width(), size.height()].map(|side| (side * scale).ceil());
        let pixmap = Pixmap::new(width as u32, height as u32);
        let mut pixmap = pixmap.ok_or_else(|| failed("too large for an image".to_owned()))?;
        resvg::render(
            &tree,
            Transform::from_scale(scale, scale),
            &mut pixmap.as_mut(),
        );
        pixmap
            .encode_png()
            .map_err(|error| failed(error.to_string()))
    }

    use resvg::usvg::fontdb;
}

#[cfg(not(feature = "png"))]
mod image {
    use super::Failure;

    /// Never called: [`super::kind`] refuses such a file.
    pub fn png(_: &str) -> Result<Vec<u8>, Failure> {
        Err(Failure::NoPng("this".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_what_a_picture_is() {
        let is = |path: &str| kind(Path::new(path)).ok();
        assert_eq!(is("a.svg"), Some(Kind::Svg));
        assert_eq!(is("a/b.SVG"), Some(Kind::Svg));
        assert_eq!([is("a.html"), is("a.htm"), is("a")], [Some(Kind::Page); 3]);
        let said = |path: &str| kind(Path::new(path)).expect_err("refused").to_string();
        assert_eq!(
            said("a.pdf"),
            "a.pdf: pictures are .svg, .png or .html, by the file's ending"
        );
        if cfg!(feature = "png") {
            assert_eq!(is("a.png"), Some(Kind::Png));
        } else {
            assert_eq!(
                said("a.png"),
                "a.png: this launcher draws no PNG: build it with '--features png', or name a .svg or .html file"
            );
        }
    }

    #[cfg(feature = "png")]
    #[test]
    fn an_image_shows_what_the_svg_shows() {
        use resvg::tiny_skia::Pixmap;
        let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"200\" height=\"100\" \
                   font-family=\"sans-serif\"><rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\
                   <rect x=\"100\" width=\"100\" height=\"50\" fill=\"#ff0000\"/>\
                   <text x=\"10\" y=\"80\" font-size=\"20\">memory</text></svg>";
        let bytes = file(Kind::Png, svg.to_owned(), |_| String::new()).expect("drawn");
        let image = Pixmap::decode_png(&bytes).expect("an image");
        assert_eq!((image.width(), image.height()), (400, 200));
        let colour = |x, y| {
            let pixel = image.pixel(x, y).expect("inside");
            (pixel.red(), pixel.green(), pixel.blue(), pixel.alpha())
        };
        assert_eq!(colour(300, 50), (255, 0, 0, 255));
        assert_eq!(colour(100, 50), (255, 255, 255, 255));
        // The word is there: dark pixels where its letters are, none to the right of it.
        let dark = |from: u32, to: u32| {
            let places = (from..to).flat_map(|x| (120..170).map(move |y| (x, y)));
            places.filter(|(x, y)| colour(*x, *y).0 < 100).count()
        };
        assert!(dark(20, 200) > 200, "{}", dark(20, 200));
        assert_eq!(dark(250, 400), 0);
    }
}
