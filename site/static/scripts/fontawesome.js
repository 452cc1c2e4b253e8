/* In the place of the theme’s icons, 1.5 MB: site.css draws those that the pages use. */
