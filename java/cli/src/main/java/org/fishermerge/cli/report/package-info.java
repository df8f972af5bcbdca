/**
 * Reports: one model of what a command did and found, shown as JSON, as a page and on the terminal.
 *
 * <p>A page is one file that needs nothing else. Everything in it is in tables, which are written
 * here; D3 (ISC licence, 280 kB, {@code org.webjars.npm:d3}) draws figures from these tables where
 * scripts run, in SVG and in the colours of the page. It was chosen over libraries of finished
 * charts (ECharts and Plotly have 1 MB and more each; uPlot and Chart.js draw on a canvas, which
 * neither prints sharply nor has anything to focus on; XChart draws in Java, without hover and in
 * one colour scheme, and needs fonts on the machine), because its scales and axes, and some two
 * hundred lines of our own, make bars with intervals and heat maps that adapt to a phone, to dark
 * and to paper. Colours are those of Okabe and Ito and viridis, which the colour-blind can tell
 * apart.
 */
@NullMarked
package org.fishermerge.cli.report;

import org.jspecify.annotations.NullMarked;
