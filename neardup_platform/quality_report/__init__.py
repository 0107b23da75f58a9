"""How a day or a week was, for people: one HTML file with trends, what needs attention, and examples as pictures.

Measures of its hours on S3 → totals, compared with the period before → words, plots, pictures → HTML and PNG on S3.
"""
